"""Writes the tables of docs/configuration.md from the settings themselves: `python docs/configuration.py`.

A test compares, so a setting that is added, renamed or changed cannot be left out of the page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from pricer.config import PREFIX, RELOADABLE, RELOADABLE_ALERTS, Section, Settings

PAGE = Path(__file__).with_suffix(".md")
BEGIN = "<!-- from here to the end: python docs/configuration.py -->\n"
TYPES = {
    bool: "true or false",
    bool | None: "true or false",
    int: "whole number",
    int | None: "whole number",
    float: "number",
    str: "text",
    str | None: "text",
}
TYPES[SecretStr | None] = "text, never shown"
AGAIN = {"server": RELOADABLE, "alerts": RELOADABLE_ALERTS}
BOUNDS = (("gt", "> "), ("ge", "≥ "), ("lt", "< "), ("le", "≤ "))


def tables() -> str:
    """A table for each section of the file."""
    return "".join(table(name, field.annotation) for name, field in Settings.model_fields.items())


def table(name: str, section: type[Section]) -> str:
    """One section: its own sentence, then a row for each key."""
    rows = "\n".join(row(name, key, field) for key, field in section.model_fields.items())
    head = "| key | default | value | environment | meaning |\n|---|---|---|---|---|"
    return f"\n## `[{name}]`\n\n{section.__doc__}\n\n{head}\n{rows}\n"


def row(section: str, key: str, field: FieldInfo) -> str:
    """Name, default as TOML has it, type and range, variable, meaning."""
    default = "none" if field.default is None else f"`{toml(field.default)}`"
    variable = f"{PREFIX}{section}__{key}".upper()
    again = " ↻" if key in AGAIN.get(section, ()) else ""
    return f"| `{key}`{again} | {default} | {allowed(field)} | `{variable}` | {field.description} |"


def toml(value: object) -> str:
    """A value as the file has it: numbers, texts, truths and lists are written as in JSON, bar the decimal point."""
    return json.dumps(value)


def allowed(field: FieldInfo) -> str:
    """The type, and between which bounds."""
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(f"`{toml(word)}`" for word in get_args(field.annotation))
    kind = TYPES.get(field.annotation, "list of texts")
    if get_origin(field.annotation) is dict:
        kind = "table of texts"
    elif SecretStr in get_args(field.annotation) and field.annotation not in TYPES:
        kind = "list of texts, never shown"
    bounds = [f"{sign}{getattr(rule, name)}" for name, sign in BOUNDS for rule in field.metadata if hasattr(rule, name)]
    return ", ".join([kind, *bounds])


def page() -> str:
    """The page as it ought to be: what people wrote, then the tables."""
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(BEGIN) + len(BEGIN)] + tables()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
