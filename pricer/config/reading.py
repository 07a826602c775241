"""Where settings are read, and which of two goes before the other."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from pricer.errors import ConfigError

PREFIX = "VOLSTREAM_"


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; later layers win.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            known = out.get(key)
            out[key] = merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return out


def from_file(path: str | Path | None) -> dict[str, Any]:
    """What a TOML file says; nothing without one."""
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def from_environment(schema: type[BaseSettings]) -> dict[str, Any]:
    """What VOLSTREAM_<SECTION>__<KEY> says. Names without the double underscore belong to other parts."""
    for name in os.environ:
        section, nested, _ = name.upper().removeprefix(PREFIX).partition("__")
        if name.upper().startswith(PREFIX) and nested and section.lower() not in schema.model_fields:
            raise ConfigError(f"{name}: no such section; there are {', '.join(schema.model_fields)}")
    try:
        return EnvSettingsSource(schema)()
    except SettingsError as error:
        raise ConfigError(f"in the environment, {error}") from error
