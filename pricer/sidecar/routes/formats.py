"""Which encoding an answer comes in: `?format=` where it is given, else the best of `Accept`, JSON by default."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pricer.sidecar.encodings import JSON, MSGPACK, Writer
from pricer.sidecar.routes.arrow import ARROW
from pricer.sidecar.routes.csv import CSV
from pricer.sidecar.routes.errors import Refusal


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write an answer. `tabular` ones hold the table alone, without the fields around it."""

    name: str
    media_type: str
    also: tuple[str, ...] = ()  # media types that older programs ask for
    tabular: bool = False

    def encoding(self) -> Writer:
        """What writes it; Arrow says by itself where it is not installed."""
        known: dict[str, Writer] = {"json": JSON, "csv": CSV, "msgpack": MSGPACK, "arrow": ARROW}
        return known[self.name]


FORMATS = {
    each.name: each
    for each in (
        Format("json", "application/json"),
        Format("csv", "text/csv; charset=utf-8; header=present", ("text/csv",), tabular=True),
        Format("msgpack", "application/msgpack", ("application/x-msgpack", "application/vnd.msgpack")),
        Format("arrow", "application/vnd.apache.arrow.stream", tabular=True),
    )
}
NAMES = ", ".join(FORMATS)


def chosen(wanted: str | None, accept: str | None, *, has_table: bool = True) -> Format:
    """The format to answer in; `Refusal` 406 where there is none, or none that this answer comes in."""
    if wanted is not None:
        found = FORMATS.get(wanted)
        if found is None:
            raise Refusal(406, f"format: no format {wanted[:40]!r}; there are {NAMES}")
    else:
        found = _accepted(accept or "*/*", has_table)
        if found is None:
            types = ", ".join(each.media_type.partition(";")[0] for each in FORMATS.values())
            raise Refusal(406, f"this sidecar answers as {types}; none of them is in the header Accept")
    if found.tabular and not has_table:
        raise Refusal(406, f"this answer is no table: ask for json or msgpack, not {found.name}")
    return found


@lru_cache(maxsize=256)
def _accepted(header: str, has_table: bool) -> Format | None:
    """The format with the highest quality; of equal ones the first of FORMATS."""
    best, best_quality = None, 0.0
    for each in FORMATS.values():
        quality = 0.0 if each.tabular and not has_table else _quality(header, each)
        if quality > best_quality:
            best, best_quality = each, quality
    return best


def _quality(header: str, each: Format) -> float:
    """What a header Accept thinks of a format: the most precise of its ranges decides (RFC 9110, 12.5.1)."""
    names = {each.media_type.partition(";")[0], *each.also}
    main = {name.partition("/")[0] + "/*" for name in names}
    found = (-1, 0.0)
    for part in header.lower().split(","):
        media, _, parameters = part.partition(";")
        media = media.strip()
        rank = 2 if media in names else 1 if media in main else 0 if media == "*/*" else -1
        if rank > found[0]:
            found = (rank, _q(parameters))
    return found[1]


def _q(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
