"""The kinds of value in a message: what each is in JSON, in the `.proto`, and as a column of numpy.

A model's field is annotated with one of these, so one declaration says all of it. Column kinds are told by the dtype;
`pricer.sidecar.messages` has the table.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field

from pricer.conventions import Reason, Status


class Kind(NamedTuple):
    """`proto`: the scalar type. `dtype`: a column's letters in numpy and msgpack, None for strings and head fields."""

    proto: str
    dtype: str | None = None


DOUBLE, INSTANT, SIGN = Kind("double", "f8"), Kind("sfixed64", "i8"), Kind("sint32", "i1")
STATUS, REASONS, ROWS, STRINGS = Kind("Status", "u1"), Kind("fixed64", "u8"), Kind("fixed32", "u4"), Kind("string")
COLUMN_KINDS = (DOUBLE, INSTANT, SIGN, STATUS, REASONS, ROWS, STRINGS)

StatusName = Literal["OK", "DEGRADED", "STALE", "INVALID"]
# A newer sidecar may know more reasons, so the schema lists those there are without refusing others.
ReasonName = Annotated[str, Field(examples=[str(reason.name) for reason in Reason])]
assert tuple(status.name for status in Status) == get_args(StatusName)

# Columns.
Values = Annotated[list[float | None], DOUBLE]
Instants = Annotated[list[int | None], INSTANT]
Signs = Annotated[list[Literal[1, 0, -1]], SIGN]
Statuses = Annotated[list[StatusName], STATUS]
ReasonSets = Annotated[list[list[ReasonName]], REASONS]
Names = Annotated[list[str | None], STRINGS]
Rows = Annotated[list[Annotated[int, Field(ge=0)]], ROWS]

# Fields of the head.
Value = Annotated[float | None, Kind("double")]
Number = Annotated[float, Kind("double")]
Ns = Annotated[int, Kind("sfixed64")]
NsOrNull = Annotated[int | None, Kind("sfixed64")]
Count = Annotated[int, Field(ge=0), Kind("uint64")]
Crc = Annotated[int, Field(ge=0, le=0xFFFFFFFF), Kind("fixed32")]
Text = Annotated[str, Kind("string")]
TextOrNull = Annotated[str | None, Kind("string")]
Texts = Annotated[list[str], Kind("string")]
Flag = Annotated[bool, Kind("bool")]
StatusField = Annotated[StatusName, Kind("Status")]
ReasonsField = Annotated[list[ReasonName], Kind("reasons")]
Counts = Annotated[dict[str, Annotated[int, Field(ge=0)]], Kind("map<string, uint64>")]
