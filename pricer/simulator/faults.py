"""Faults by name: what there is, scripts of them, and a random script for a seed.

A script is plain data that JSON and TOML can hold: rows of `[at, fault, parameters]`, seconds after the start.

>>> script = parse_script([[5.0, "zombie", {"for_s": 10.0}], [20.0, "reset"]])
>>> [fault.name for fault in script]
['zombie', 'reset']

`where` says who carries a fault out: the venue (`fault_layer.FaultyVenue`), the network path (`path.Path`, behind the
TCP proxy and the simulated transport), or the host that the pricer runs on (its clock, in tests only). The
`Conductor` begins and ends them; nobody here asks the time.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from pricer.errors import ConfigError

Where = Literal["path", "venue", "host"]
Value = float | int | str | bool | None


@dataclass
class Faults:
    """Switches inside a venue, all off at first; what they mean on the wire is the venue's file to say."""

    refused: set[str] = field(default_factory=set)  # instruments left out of what a subscribe accepts
    stop_pushing: bool = False  # a zombie: requests and heartbeats are answered, nothing is pushed
    stop_answering: bool = False  # requests are read and dropped
    freeze_index: bool = False  # spot stands still and the index channel falls silent
    refuse_connections: bool = False  # new WebSocket connections get HTTP 503


class Kind(NamedTuple):
    """One kind of fault: who carries it out, its parameters with what they are by default, and what it does.

    `drawn` are the values that random schedules choose from; a kind with None there is never drawn.
    """

    where: Where
    what: str
    defaults: Mapping[str, Value] = {}
    drawn: Mapping[str, Sequence[Value]] | None = {}


# Messages that a fault of the kind "some messages" hits: a share of those whose channel begins so, at most `count`.
_SOME: Mapping[str, Value] = {"channels": "", "share": 1.0, "count": None}
_SHARES: Sequence[Value] = (0.05, 0.3, 1.0)
_FEEDS: Sequence[Value] = ("", "ticker.", "deribit_price_index.", "book.")

KINDS: Mapping[str, Kind] = {
    # The handshake
    "refuse": Kind(
        "venue",
        "WebSocket handshakes are answered with an HTTP status",
        {"status": 503, "retry_after_s": 0},
        {"status": (403, 418, 429, 503), "retry_after_s": (0, 3)},
    ),
    # Replies to requests
    "lose_replies": Kind("venue", "requests are done, their replies are lost", {"share": 1.0}, {"share": (0.5, 1.0)}),
    "late_replies": Kind("venue", "replies come late", {"delay_s": 2.0}, {"delay_s": (0.5, 4.0, 12.0)}),
    "reorder_replies": Kind("venue", "each two replies change places"),
    "error_replies": Kind(
        "venue",
        "requests are refused with an error code",
        {"code": 10028, "share": 1.0, "methods": ""},
        {"code": (10028, 11051, 10066), "share": (0.5, 1.0), "methods": ("", "public/subscribe")},
    ),
    "reject_channels": Kind("venue", "a share of the channels is not accepted", {"share": 0.2}, {"share": (0.05, 0.5)}),
    "no_data": Kind("venue", "subscriptions made now are acknowledged and bring nothing"),
    "expire_tokens": Kind("venue", "access and refresh tokens are not valid any more"),
    # Notifications
    "drop": Kind("venue", "notifications are lost", _SOME, {"channels": _FEEDS, "share": _SHARES}),
    "duplicate": Kind("venue", "notifications come twice", _SOME, {"channels": _FEEDS, "share": _SHARES}),
    "swap": Kind("venue", "notifications of a channel change places", _SOME, {"channels": _FEEDS, "share": _SHARES}),
    "corrupt": Kind("venue", "bytes of frames are garbled", _SOME, {"channels": _FEEDS, "share": _SHARES}),
    "delay": Kind(
        "venue",
        "notifications are held back",
        {**_SOME, "delay_s": 1.0},
        {"channels": _FEEDS, "share": _SHARES, "delay_s": (0.3, 3.0)},
    ),
    "zombie": Kind("venue", "requests and heartbeats are answered, nothing is pushed", {"channels": ""}, {}),
    "unknown_messages": Kind("venue", "messages, channels and fields that nobody knows are sent as well"),
    "stale_snapshot": Kind("venue", "the first book message of a channel is sent again", {"count": 5}, {}),
    # What the numbers say
    "freeze_index": Kind("venue", "the index stands still and its channel falls silent"),
    "stick_index": Kind("venue", "the same index is published again and again while the market moves"),
    "jump_index": Kind(
        "venue",
        "the index is published at a multiple of itself",
        {"factor": 1.2, "count": None},
        {"factor": (0.8, 1.2), "count": (1, None)},
    ),
    "jump_forward": Kind(
        "venue",
        "index and forward in tickers are multiples of themselves",
        {**_SOME, "factor": 1.2},
        {"factor": (0.8, 1.2), "share": (0.05, 1.0)},
    ),
    "fat_finger": Kind(
        "venue", "asks are a multiple of what is fair", {**_SOME, "factor": 100.0}, {"share": (0.05, 0.3)}
    ),
    "one_sided": Kind("venue", "a side of the quotes is empty", {**_SOME, "side": "bid"}, {"side": ("bid", "ask")}),
    "bad_price": Kind(
        "venue", "prices are zero, negative or null", {**_SOME, "value": 0}, {"share": _SHARES, "value": (0, -1, None)}
    ),
    "mutate": Kind("venue", "a field is missing, empty or of the wrong type", _SOME, {"share": _SHARES}),
    "bad_time": Kind(
        "venue",
        "timestamps are off by so many seconds, or 0",
        {**_SOME, "off_s": None},
        {"share": _SHARES, "off_s": (None, -7200, 7200)},
    ),
    # The venue as a whole
    "maintenance": Kind("venue", "announced; requests are refused with 11051, nothing is pushed"),
    "lock": Kind("venue", "the index is announced as locked, then as open again"),
    "restart": Kind("venue", "sessions are closed with a code, handshakes refused", {"code": 1012}, {}),
    "close": Kind("venue", "sessions are closed with a code", {"code": 1013}, {"code": (1000, 1001, 1011, 1013, 4000)}),
    "halt": Kind("venue", "some options are halted, then open again", {"count": 3}, {"count": (1, 5)}),
    "after_expiry": Kind("venue", "tickers of expired options go on"),
    # The path
    "reset": Kind("path", "connections are reset (RST)"),
    "fin": Kind("path", "connections are ended (FIN) without a closing handshake"),
    "black_hole": Kind("path", "bytes and ends vanish", {"direction": "both"}, {"direction": ("both", "up", "down")}),
    "latency": Kind(
        "path",
        "everything takes longer, by so much and up to so much more",
        {"seconds": 0.05, "jitter_s": 0.0},
        {"seconds": (0.05, 0.5, 3.0), "jitter_s": (0.0, 0.2)},
    ),
    "bandwidth": Kind(
        "path", "so many bytes a second each way", {"bytes_per_s": 20_000}, {"bytes_per_s": (2_000, 50_000)}
    ),
    "slice": Kind("path", "bytes arrive in pieces", {"bytes": 1}, {"bytes": (1, 7)}),
    "cut": Kind(
        "path", "connections are cut after so many bytes more from the venue", {"bytes": 1000}, {"bytes": (100, 50_000)}
    ),
    "stall": Kind(
        "path",
        "a random part of the connections stand still one by one, and go on in another order",
        {"share": 0.5},
        {"share": (0.5, 1.0)},
    ),
    "late_close": Kind("path", "ends are passed on late", {"seconds": 2.0}, {"seconds": (0.5, 5.0)}),
    "unreachable": Kind("path", "new connections are refused"),
    # The host
    "step_clock": Kind(
        "host",
        "the wall clock steps by so many seconds and, at the end, back",
        {"seconds": 3600.0},
        {"seconds": (-3600.0, -2.0, 2.0, 3600.0)},
    ),
    "sleep": Kind("host", "the process stands still", {}, {}),
}

# Faults that happen at one moment: how long they last has no meaning.
MOMENTARY = frozenset({"reset", "fin", "cut", "close"})


class Fault(NamedTuple):
    """One row of a script. `parameters` has every parameter of the kind, and `for_s`, how long it lasts."""

    at_s: float
    name: str
    parameters: Mapping[str, Value]

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def for_s(self) -> float:
        """Seconds from its beginning to its end."""
        return float(self.parameters["for_s"] or 0.0)

    @property
    def ends_s(self) -> float:
        return self.at_s + self.for_s

    def __str__(self) -> str:
        silent = {"for_s": self.for_s, "channels": "", "methods": "", "count": None}
        told = " ".join(f"{k}={v}" for k, v in self.parameters.items() if k not in silent or v != silent[k])
        lasts = f"for {self.for_s:g} s" if self.for_s else ""
        return " ".join(part for part in (self.name, told, lasts) if part)


Script = tuple[Fault, ...]


def fault(at_s: float, name: str, /, **parameters: Value) -> Fault:
    """A row of a script; `ConfigError` where the name or a parameter is not known."""
    if name not in KINDS:
        raise ConfigError(f"fault {name!r} is not known; there are {', '.join(sorted(KINDS))}")
    known: dict[str, Value] = {**KINDS[name].defaults, "for_s": 0.0 if name in MOMENTARY else 5.0}
    if unknown := sorted(parameters.keys() - known.keys()):
        raise ConfigError(f"fault {name!r} has no parameter {unknown[0]!r}; it has {', '.join(known)}")
    for key, value in parameters.items():
        if isinstance(value, str) is not isinstance(known[key], str):
            raise ConfigError(f"fault {name!r}: {key} cannot be {value!r}")
    made = Fault(float(at_s), name, {**known, **parameters})
    if not (0.0 <= made.at_s < float("inf") and 0.0 <= made.for_s < float("inf")):
        raise ConfigError(f"fault {name!r}: at {at_s!r} for {made.for_s!r} s is no time in a script")
    return made


def parse_script(rows: Iterable[Sequence[Any]]) -> Script:
    """A script from rows `[at, fault]` or `[at, fault, parameters]`, in order of time; `ConfigError` for a bad row."""
    script = []
    for row in rows:
        match list(row):
            case [float() | int() as at_s, str() as name]:
                script.append(fault(at_s, name))
            case [float() | int() as at_s, str() as name, dict() as parameters]:
                script.append(fault(at_s, name, **parameters))
            case _:
                raise ConfigError(f"{row!r} is not a row [seconds, fault, parameters]")
    return tuple(sorted(script, key=lambda each: each.at_s))


def load_script(path: str | FilePath) -> Script:
    """A script from a JSON file of rows, or from a TOML file whose `script` has them."""
    file = FilePath(path)
    try:
        text = file.read_text("utf-8")
        rows = tomllib.loads(text)["script"] if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{file}: no script of faults: {error}") from error
    if not isinstance(rows, list):
        raise ConfigError(f"{file}: no script of faults: not a list of rows")
    return parse_script(rows)


def dump_script(script: Script) -> str:
    """The script as JSON, a row a line, as `load_script` reads it."""
    rows = (json.dumps([each.at_s, each.name, dict(each.parameters)]) for each in script)
    return "[\n" + ",\n".join(f"  {row}" for row in rows) + "\n]\n"


def random_schedule(
    seed: int,
    duration_s: float,
    *,
    where: Iterable[Where] = ("venue", "path"),
    first_s: float = 5.0,
    gap_s: float = 4.0,
    longest_s: float = 12.0,
) -> Script:
    """A script for `seed`: faults begin `gap_s` apart on average, may overlap, and all end within `duration_s`."""
    rng = np.random.default_rng(seed)
    names = [name for name, kind in KINDS.items() if kind.where in set(where) and kind.drawn is not None]
    script = []
    at_s = first_s
    while at_s < duration_s - 1.0:
        name = names[int(rng.integers(len(names)))]
        drawn = {key: values[int(rng.integers(len(values)))] for key, values in (KINDS[name].drawn or {}).items()}
        for_s = round(min(0.5 + float(rng.exponential(longest_s / 3.0)), longest_s, duration_s - at_s), 3)
        script.append(fault(round(at_s, 3), name, **drawn, for_s=0.0 if name in MOMENTARY else for_s))
        at_s += float(rng.exponential(gap_s))
    return tuple(script)


class Target(Protocol):
    """Who carries faults out. `key` tells two of the same name apart."""

    def begin(self, key: int, fault: Fault) -> None: ...
    def end(self, key: int, fault: Fault) -> None: ...


Announce = Callable[[Fault, bool], None]


class Conductor:
    """Begins and ends the faults of a script as time passes, each at its target; `announce(fault, began)` is told."""

    def __init__(self, script: Script, targets: Mapping[Where, Target], announce: Announce | None = None) -> None:
        if missing := sorted({each.kind.where for each in script} - targets.keys()):
            raise ConfigError(f"nobody is here to carry out the faults of the {missing[0]}")
        ends = [(each.ends_s, 0, key, each) for key, each in enumerate(script)]
        begins = [(each.at_s, 1, key, each) for key, each in enumerate(script)]
        # At one moment ends come before beginnings, but a momentary fault ends right after its own.
        self._steps = sorted(
            (*begins, *((at, 0 if each.for_s else 2, key, each) for at, _, key, each in ends)),
            key=lambda step: step[:3],
        )
        self._targets = targets
        self._announce = announce
        self._next = 0
        self.active: dict[int, Fault] = {}

    @property
    def next_s(self) -> float | None:
        """When the next fault begins or ends; None after the last."""
        return self._steps[self._next][0] if self._next < len(self._steps) else None

    def advance(self, now_s: float) -> None:
        """Carry out all that is due by `now_s`."""
        for key, each in self._due(now_s):
            target = self._targets[each.kind.where]
            began = key not in self.active
            if began:
                self.active[key] = each
                target.begin(key, each)
            else:
                del self.active[key]
                target.end(key, each)
            if self._announce is not None and (began or each.for_s):
                self._announce(each, began)

    def _due(self, now_s: float) -> Iterator[tuple[int, Fault]]:
        while self._next < len(self._steps) and self._steps[self._next][0] <= now_s:
            _, _, key, each = self._steps[self._next]
            self._next += 1
            yield key, each
