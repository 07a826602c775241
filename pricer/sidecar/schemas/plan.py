"""The models as the binary writers need them: every message a list of numbered fields. Made once, from the models."""

from __future__ import annotations

import inspect
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from pricer.sidecar.schemas.kinds import Kind
from pricer.sidecar.schemas.messages import MESSAGES
from pricer.sidecar.schemas.numbers import NUMBERS
from pricer.sidecar.schemas.requests import REQUESTS
from pricer.sidecar.schemas.tables import TABLES, Model


class Numbered(NamedTuple):
    """One field."""

    name: str
    number: int
    proto: str  # the scalar type, or the message's name
    dtype: str | None  # of a column; None for strings and outside of tables
    label: Literal["", "optional", "repeated"]
    nested: Plan | None
    may_be_absent: bool  # JSON then has no such field; otherwise it is null, empty or zero there
    meaning: str


class Plan(NamedTuple):
    """One message: its constants (which are not on the wire) and its fields in the order of their numbers."""

    name: str
    meaning: str
    constants: dict[str, str]
    fields: tuple[Numbered, ...]


@cache
def plan_of(model: type[Model]) -> Plan:
    """The plan of a model; LookupError where a field has no number in `schemas/numbers.py`."""
    numbers = numbers_of(model.__name__)
    constants, fields = {}, []
    for attribute, info in model.model_fields.items():
        name = info.alias or attribute
        if (constant := _constant(info)) is not None:
            constants[name] = constant
        elif name not in numbers:
            raise LookupError(f"{model.__name__}.{name} has no number: append it in schemas/numbers.py")
        else:
            fields.append(_numbered(name, numbers[name], info))
    fields.sort(key=lambda field: field.number)
    return Plan(model.__name__, inspect.cleandoc(model.__doc__ or ""), constants, tuple(fields))


@cache
def messages() -> dict[str, Plan]:
    """What the sidecar sends, by published name."""
    return {name: plan_of(model) for name, model in MESSAGES.items()}


@cache
def requests() -> dict[str, Plan]:
    """What clients send, by `op`."""
    return {op: plan_of(model) for op, model in REQUESTS.items()}


@cache
def plans() -> dict[str, Plan]:
    """Every message by its name, the nested ones included."""
    found: dict[str, Plan] = {}
    waiting = [*messages().values(), *requests().values()]
    while waiting:
        plan = waiting.pop()
        if plan.name not in found:
            found[plan.name] = plan
            waiting += [field.nested for field in plan.fields if field.nested is not None]
    return found


@cache
def columns(channel: str) -> dict[str, Numbered]:
    """The columns of a channel by name; empty for a channel that we do not know."""
    return {field.name: field for field in plan_of(TABLES[channel]).fields} if channel in TABLES else {}


def numbers_of(message: str) -> dict[str, int]:
    """The field numbers of a message: 1 for the first name of its list, and so on."""
    return {name: i for i, name in enumerate(NUMBERS.get(message, "").split(), 1)}


def _constant(info: FieldInfo) -> str | None:
    """The only value that a field can have: that the message is of this type says so already."""
    values = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    return values[0] if len(values) == 1 else None


def _numbered(name: str, number: int, info: FieldInfo) -> Numbered:
    annotation, nullable = _without_null(info.annotation)
    absent, meaning = not info.is_required(), info.description or ""
    is_list = get_origin(annotation) is list
    inner = get_args(annotation)[0] if is_list else annotation
    if isinstance(inner, type) and issubclass(inner, Model):
        plan = plan_of(inner)
        label: Literal["", "optional", "repeated"] = "repeated" if is_list else "optional" if nullable or absent else ""
        return Numbered(name, number, plan.name, None, label, plan, absent, meaning)
    kind = next((rule for rule in info.metadata if isinstance(rule, Kind)), Kind("string"))
    if is_list and kind.proto != "reasons":
        return Numbered(name, number, kind.proto, kind.dtype, "repeated", None, absent, meaning)
    label = "optional" if (nullable or absent) and not kind.proto.startswith("map") else ""
    return Numbered(name, number, kind.proto, None, label, None, absent, meaning)


def _without_null(annotation: Any) -> tuple[Any, bool]:
    """`T | None` without the None, and whether it was there."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation, False
    rest = [one for one in get_args(annotation) if one is not NoneType]
    return rest[0], len(rest) < len(get_args(annotation))
