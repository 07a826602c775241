"""Settings read again while clients stay connected: on SIGHUP, or by POST /v1/admin/reload.

All or nothing: the file, the tokens and the certificate are read and checked before anything is replaced, so a mistake
in one of them leaves everything as it was. What cannot change while it runs is named, and stays as it was. Each reload
leaves one line in the log: who asked, and what changed or why it was refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from pricer.clock import Clock
from pricer.config import RELOADABLE, RELOADABLE_ALERTS, AlertsSection, ServerSection, Settings
from pricer.errors import ConfigError
from pricer.sidecar import tls
from pricer.sidecar.auth import Authority, authority_of, warn_if_none_is_valid
from pricer.sidecar.door import Door

log = logging.getLogger("pricer.sidecar.reload")


class Reconfigured(Protocol):
    """Who holds limits: the hub."""

    def reconfigure(self, settings: ServerSection) -> None: ...


class Watching(Protocol):
    """Who holds the rules."""

    def check(self, settings: AlertsSection) -> None: ...

    def reconfigure(self, settings: AlertsSection) -> None: ...


class Outcome(NamedTuple):
    """What a reload did: keys as `section.key`; tokens by name, and whether the certificate is another."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]
    tokens: tuple[str, ...] = ()
    renewed: bool = False

    def __str__(self) -> str:
        changed = [*self.applied]
        if self.renewed:
            changed.append("certificate")
        if self.tokens:
            changed.append(f"tokens: {', '.join(self.tokens)}")
        restart = f"; a restart is needed for: {', '.join(self.needs_restart)}" if self.needs_restart else ""
        return f"changed: {', '.join(changed) or 'nothing'}{restart}"


class Reloader:
    """Reads with `reread`, which gives whole new settings or raises `ConfigError`."""

    def __init__(
        self,
        settings: Settings,
        reread: Callable[[], Settings],
        door: Door,
        hub: Reconfigured,
        context: ssl.SSLContext | None,
        clock: Clock,
        alerts: Watching | None = None,
    ) -> None:
        self.settings = settings
        self._alerts = alerts
        self._reread, self._door, self._hub, self._context, self._clock = reread, door, hub, context, clock
        self._certificate = _fingerprint(settings.server)

    def reload(self, who: str) -> Outcome:
        """Take over what has changed, told in the log; `ConfigError`, with the key's path, where all is refused."""
        try:
            outcome = self._reload()
        except ConfigError as error:
            log.error("by %s: the settings are refused, and stay as they were: %s", who, error)
            raise
        log.warning("by %s: the settings were read again; %s", who, outcome)
        return outcome

    def on_signal(self) -> None:
        """`reload`, of which nobody but the log is told."""
        with contextlib.suppress(ConfigError):
            self.reload("SIGHUP")

    def _reload(self) -> Outcome:
        new = self._reread()
        applied, needs_restart = changes(self.settings, new)
        server = merged(self.settings.server, new.server, applied)
        alerts = _merged_alerts(self.settings.alerts, new.alerts, applied)
        authority = authority_of(server, self._clock)
        if self._alerts is not None:
            self._alerts.check(alerts)
        if self._context is not None:
            tls.renew(self._context, server)  # a certificate is renewed in place: its path stays, its contents change
        # Nothing below can fail.
        tokens = _differences(self._door.authority, authority)
        before, self._certificate = self._certificate, _fingerprint(server)
        old_alerts = self.settings.alerts
        self.settings = self.settings.model_copy(update={"server": server, "alerts": alerts})
        self._door.replace(server, authority)
        warn_if_none_is_valid(authority)
        self._hub.reconfigure(server)
        if self._alerts is not None and alerts != old_alerts:
            self._alerts.reconfigure(alerts)
        return Outcome(applied, needs_restart, tokens, self._certificate != before)


def _fingerprint(settings: ServerSection) -> bytes | None:
    """Of the file of the certificate: to tell whether a renewal brought another one."""
    if settings.tls_cert is None:
        return None
    with contextlib.suppress(OSError):  # it was read a moment ago, and whether it is another is only told
        return hashlib.sha256(Path(settings.tls_cert).read_bytes()).digest()
    return None


def _differences(before: Authority, after: Authority) -> tuple[str, ...]:
    """The names of tokens that came, went, or stand for something else now."""
    old, new = frozenset(before.tokens) - set(after.tokens), frozenset(after.tokens) - set(before.tokens)
    gone, come = {token.name for token in old}, {token.name for token in new}
    signs = (("+", come - gone), ("-", gone - come), ("~", come & gone))
    return tuple(f"{sign}{name}" for sign, names in signs for name in sorted(names))


def changes(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys that differ: those that can be taken over, and those that need a restart."""
    applied: list[str] = []
    needs_restart: list[str] = []
    for section in Settings.model_fields:
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).model_fields:
            if getattr(before, key) != getattr(after, key):
                can = key in _RELOADABLE.get(section, ()) and not _begins_or_ends_tls(key, before, after)
                (applied if can else needs_restart).append(f"{section}.{key}")
    return tuple(applied), tuple(needs_restart)


_RELOADABLE = {"server": RELOADABLE, "alerts": RELOADABLE_ALERTS}


def _begins_or_ends_tls(key: str, before: ServerSection, after: ServerSection) -> bool:
    return key in ("tls_cert", "tls_key") and (before.tls_cert is None) != (after.tls_cert is None)


def merged(old: ServerSection, new: ServerSection, applied: tuple[str, ...]) -> ServerSection:
    """The old section with what can be taken over; checked as a whole, since two keys may not go together."""
    values = {key: getattr(old, key) for key in type(old).model_fields}
    values |= {key: getattr(new, key) for key in _keys("server", applied)}
    try:
        return ServerSection(**values)
    except ValueError as error:
        raise ConfigError("server: what can change without a restart does not go with what cannot") from error


def _merged_alerts(old: AlertsSection, new: AlertsSection, applied: tuple[str, ...]) -> AlertsSection:
    """The old section with what can be taken over; no two of its keys exclude each other."""
    return old.model_copy(update={key: getattr(new, key) for key in _keys("alerts", applied)})


def _keys(section: str, applied: tuple[str, ...]) -> list[str]:
    """The keys of one section among paths."""
    return [path.removeprefix(f"{section}.") for path in applied if path.startswith(f"{section}.")]
