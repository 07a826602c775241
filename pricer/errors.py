"""Every error that volstream raises on purpose. Catch `VolstreamError` to catch them all."""

from __future__ import annotations

from typing import Any


class VolstreamError(Exception):
    """The root of all errors below."""


class ConfigError(VolstreamError, ValueError):
    """A setting is unknown or impossible; the message names its key and the value given."""


class ConnectError(VolstreamError, ConnectionError):
    """A venue or a sidecar could not be reached within the caller's own deadline."""


class ProtocolError(VolstreamError):
    """A peer sent something that its protocol does not allow."""


class PayloadError(ProtocolError, ValueError):
    """Bytes or a text that are no message of their encoding; the message says where they stop being one."""


class VenueError(VolstreamError):
    """A venue refused a request; `code` is the venue's own."""

    def __init__(self, message: str, code: int | str | None = None) -> None:
        super().__init__(message)
        self.code = code


class RecordingError(VolstreamError):
    """A recording cannot be read; the message names the file and the place in it."""


class UnknownInstrument(VolstreamError, KeyError):
    """No such instrument in this snapshot."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0]) if self.args else ""


class NotTradable(VolstreamError):
    """The number asked for is not `OK`: its status, reasons and the age of its oldest input say why.

    `status` is a `conventions.Status`, `reasons` a `conventions.Reason`, `age_ns` integer nanoseconds
    (None where an input never arrived). `why` is said in their place where they are not the point.
    """

    def __init__(self, what: str, status: Any, reasons: Any, age_ns: int | None, why: str = "") -> None:
        age = "never arrived" if age_ns is None else f"{age_ns / 1e9:.3f} s old"
        shown = why or f"{status.name}: {reasons.label or 'no reason given'} (input {age})"
        super().__init__(f"{what} is {shown}")
        self._what, self._why = what, why
        self.status = status
        self.reasons = reasons
        self.age_ns = age_ns

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is otherwise made again from its message alone
        return type(self), (self._what, self.status, self.reasons, self.age_ns, self._why)
