"""Writes the tables of columns in docs/protocol.md from the models, and that of codes: `python docs/protocol.py`.

A test compares, so a column or a code that is added, renamed or changed cannot be left out of the page.
"""

from __future__ import annotations

import re
from pathlib import Path

from pricer.sidecar.routes.errors import MEANINGS
from pricer.sidecar.schemas.plan import columns
from pricer.sidecar.schemas.tables import FIXED, HTTP_ONLY

PAGE = Path(__file__).with_suffix(".md")
PLACE = re.compile(r"(<!-- columns of (\w+) -->\n).*?(<!-- end of columns -->)", re.DOTALL)
CODES_PLACE = re.compile(r"(<!-- codes of HTTP -->\n).*?(<!-- end of codes -->)", re.DOTALL)
TYPES = {"f8": "number", "i8": "instant", "i1": "sign", "u1": "status", "u8": "reasons", None: "text"}


def table(channel: str) -> str:
    """The columns of a channel in their order."""
    rows = [
        f"| `{name}` | {TYPES[field.dtype]}{', fixed' if name in FIXED[channel] else ''} | {field.meaning} |"
        for name, field in columns(channel).items()
        if name not in HTTP_ONLY
    ]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows, ""])


def codes() -> str:
    """What may be wrong with a request, a row each."""
    rows = [f"| {each.partition(': ')[0]} | `{code}` | {each.partition(': ')[2]} |" for code, each in MEANINGS.items()]
    return "\n".join(["| status | code | when |", "|---|---|---|", *rows, ""])


def page() -> str:
    """The page as it ought to be: what people wrote, and the tables."""
    text = PLACE.sub(lambda found: found[1] + table(found[2]) + found[3], PAGE.read_text(encoding="utf-8"))
    return CODES_PLACE.sub(lambda found: found[1] + codes() + found[2], text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
