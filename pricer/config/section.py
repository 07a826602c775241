"""What every table of the file has in common: nothing is guessed, and lists may be words between commas."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode


def split(value: Any) -> Any:
    """An environment variable or an option holds a list as words between commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]


class Section(BaseModel):
    """A table of the file. Values may come as text from the environment; nothing else is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)
