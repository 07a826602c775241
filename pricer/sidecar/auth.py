"""Who may do what: bearer tokens with scopes, and how often somebody may be wrong.

Tokens stand in a TOML file that only its owner reads, one line each, as `volstream token` prints it; the file has no
token in it, but the SHA-256 of each:

    bot = { sha256 = "9f86d081884c7d65...", scopes = ["read"], expires = 2027-01-01T00:00:00Z }

A token has 256 bits of chance, so a plain hash is enough: there is nothing to guess. It is sought by comparing with all
hashes in constant time, and an unknown, a wrong and an expired one get the same answer.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import re
import secrets
import tomllib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pricer.addresses import network_of
from pricer.clock import NS_PER_SECOND, Clock
from pricer.config import ServerSection
from pricer.errors import ConfigError
from pricer.sidecar.private_file import read_private

log = logging.getLogger("pricer.sidecar.auth")

PREFIX = "vst_"
MOST_TOKENS = 1000
NAME = re.compile(r"[A-Za-z0-9_\-]{1,64}")
_ENTRY = re.compile(r"\s*([A-Za-z0-9_\-]{1,64})\s*=\s*\{")
UNAUTHORIZED = "a token is needed: Authorization: Bearer, or the message auth; there was none, or it is not valid"


class Scopes(enum.Flag):
    """What a token is good for; each stands for itself and includes no other."""

    READ = 1  # every number, by HTTP and WebSocket, and metrics
    CONTROL = 2  # change what the sidecar does, but not who may
    ADMIN = 4  # read the settings and the tokens again

    @classmethod
    def named(cls, words: Iterable[str]) -> Scopes:
        """From "read", "control", "admin"; ValueError naming any other, or where there is none."""
        out = cls(0)
        for word in words:
            try:
                out |= cls[word.upper()]
            except KeyError:
                raise ValueError(f"no scope {word!r}; there are read, control, admin") from None
        if not out:
            raise ValueError("at least one scope of read, control, admin is needed")
        return out

    @property
    def words(self) -> tuple[str, ...]:
        """The names in the file."""
        return tuple(scope.name.lower() for scope in self if scope.name)


@dataclass(frozen=True)
class Token:
    """What is known of one token; not the token."""

    name: str
    scopes: Scopes
    digest: bytes = field(repr=False)
    expires_ns: int | None = None  # UTC epoch

    def line(self) -> str:
        """How it stands in the file."""
        parts = [
            f'sha256 = "{self.digest.hex()}"',
            f"scopes = [{', '.join(f'{word!r}' for word in self.scopes.words)}]",
        ]
        if self.expires_ns is not None:
            moment = datetime.fromtimestamp(self.expires_ns / NS_PER_SECOND, UTC)
            parts.append(f"expires = {moment:%Y-%m-%dT%H:%M:%SZ}")
        return f"{self.name} = {{ {', '.join(parts)} }}".replace("'", '"')


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def new_token(name: str, scopes: Scopes, expires_ns: int | None = None) -> tuple[str, Token]:
    """A new token, to be shown once, and what is kept of it."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"the name {name!r} is not of 1 to 64 letters, digits, - and _")
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, Token(name, scopes, digest_of(secret), expires_ns)


class Authority:
    """The tokens of one sidecar. Its `repr` shows names and scopes only."""

    def __init__(self, tokens: Iterable[Token], clock: Clock, *, everybody: Scopes) -> None:
        self.tokens = tuple(tokens)
        self._clock = clock
        self._everybody = everybody

    def __repr__(self) -> str:
        return f"Authority({[(token.name, token.scopes.words) for token in self.tokens]})"

    @property
    def asks(self) -> bool:
        """Whether a token is asked for at all."""
        return bool(self.tokens)

    @property
    def all_expired(self) -> bool:
        """Whether no token is valid any more."""
        now_ns = self._clock.now().wall_ns
        return all(token.expires_ns is not None and token.expires_ns <= now_ns for token in self.tokens)

    @property
    def anonymous(self) -> Scopes:
        """What may be done without a token."""
        return Scopes(0) if self.asks else self._everybody

    def find(self, presented: str) -> Token | None:
        """The token that was presented, if it is known and valid now. Takes as long for every answer."""
        digest, found = digest_of(presented), None
        for token in self.tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        now_ns = self._clock.now().wall_ns
        return found if found is not None and (found.expires_ns is None or now_ns < found.expires_ns) else None

    def holds(self, token: Token, now_ns: int) -> bool:
        """Whether what was found before is still so: a connection outlives the moment it was let in."""
        known = next((each for each in self.tokens if hmac.compare_digest(each.digest, token.digest)), None)
        same = known is not None and known.scopes == token.scopes
        return same and known is not None and (known.expires_ns is None or now_ns < known.expires_ns)

    def authorize(self, presented: str | None) -> Scopes | None:
        """What whoever presents this may do; None where a token is asked for and this is none."""
        if not self.asks:
            return self._everybody
        found = None if presented is None else self.find(presented)
        return None if found is None else found.scopes


def warn_if_none_is_valid(authority: Authority) -> None:
    """Tell the log where tokens are asked for, and all of them have expired."""
    if authority.asks and authority.all_expired:
        log.warning(
            "all tokens have expired: nobody can come in (%s)", ", ".join(each.name for each in authority.tokens)
        )


def authority_of(settings: ServerSection, clock: Clock) -> Authority:
    """The tokens of the settings. Without any, whoever reaches the sidecar may read, and nobody may control it."""
    tokens: list[Token] = []
    if settings.tokens_file is not None:
        tokens += parse(read_private("server.tokens_file", settings.tokens_file), settings.tokens_file)
    if settings.token is not None:
        digest = digest_of(settings.token.get_secret_value())
        tokens.append(Token("environment", _scopes("server.token_scopes", settings.token_scopes), digest))
    if settings.tokens_file is not None and not tokens:
        raise ConfigError(f"server.tokens_file: there is no token in {settings.tokens_file}")
    everybody = Scopes.READ
    if settings.tls_client_ca is not None:
        everybody = _scopes("server.tls_client_scopes", settings.tls_client_scopes)
    return Authority(tokens, clock, everybody=everybody)


def parse(text: bytes, path: str | Path) -> list[Token]:
    """The tokens of a file; `ConfigError` names the file and the key, and never what stands there."""
    try:
        table = tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"server.tokens_file: {path} is not valid TOML: it is no UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"server.tokens_file: {path} is not valid TOML{_place(text.decode(), error)}") from None
    if len(table) > MOST_TOKENS:
        raise ConfigError(f"server.tokens_file: more than {MOST_TOKENS} tokens in {path}")
    return [_token(name, entry, f"server.tokens_file: {path}: {_shown(name)}") for name, entry in table.items()]


def _place(text: str, error: tomllib.TOMLDecodeError) -> str:
    """The line, and the name on it where it stands there twice; of the decoder's own words, which may quote, no more.

    What is on a line is a name only before ` = {`: a token that was pasted there is shown to nobody.
    """
    lines = text.rstrip().split("\n")
    found = re.search(r"\(at line (\d+),", str(error))
    number = int(found[1]) if found else len(lines)  # "at end of document"
    names = [match[1] if (match := _ENTRY.match(line)) else None for line in lines[:number]]
    name = names[-1] if names else None
    twice = name is not None and name in names[:-1] and not name.startswith(PREFIX)
    return f": line {number}: the name {name} stands there twice" if twice else f": line {number}"


def _shown(name: str) -> str:
    return name if NAME.fullmatch(name) and not name.startswith(PREFIX) else "a name that is none"


def _token(name: str, entry: Any, where: str) -> Token:
    if not NAME.fullmatch(name) or not isinstance(entry, Mapping):
        raise ConfigError(f'{where}: a line is  name = {{ sha256 = "...", scopes = ["read"] }}')
    unknown = entry.keys() - {"sha256", "scopes", "expires"}
    if unknown:
        raise ConfigError(f"{where}: unknown key; there are sha256, scopes, expires")
    digest, words = entry.get("sha256"), entry.get("scopes")
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ConfigError(f"{where}.sha256: is not of 64 hexadecimal digits, as `volstream token` prints them")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ConfigError(f'{where}.scopes: is not a list such as ["read"]')
    expires = entry.get("expires")
    return Token(name, _scopes(f"{where}.scopes", words), bytes.fromhex(digest), _instant(f"{where}.expires", expires))


def _scopes(where: str, words: Iterable[str]) -> Scopes:
    try:
        return Scopes.named(words)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _instant(where: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return round(value.timestamp()) * NS_PER_SECOND
    if isinstance(value, date) and not isinstance(value, datetime):
        return round(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * NS_PER_SECOND
    raise ConfigError(f"{where}: is not a moment such as 2027-01-01T00:00:00Z")


class Attempts:
    """How often an address may present what is no valid token: a bucket for each, `per_minute` deep.

    Whoever has used it up is refused whatever he presents, or the right guess would still come through. What counts as
    one address is `pricer.addresses.network_of`.
    """

    MOST = 4096

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def failed(self, address: str) -> None:
        """One more."""
        address = network_of(address)
        left, now_ns = self._now(address)
        if len(self._left) >= self.MOST and address not in self._left:
            self._left.popitem(last=False)  # who was wrong longest ago
        self._left[address] = max(left - 1.0, 0.0), now_ns
        self._left.move_to_end(address)

    def wait_s(self, address: str) -> float:
        """Seconds until the address may try again; 0 where it may now."""
        left, _ = self._now(network_of(address))
        return 0.0 if left >= 1.0 else (1.0 - left) * 60.0 / self.per_minute

    def _now(self, address: str) -> tuple[float, int]:
        now_ns = self._clock.now().mono_ns
        left, at_ns = self._left.get(address, (float(self.per_minute), now_ns))
        grown = (now_ns - at_ns) / NS_PER_SECOND * self.per_minute / 60.0
        return min(left + grown, float(self.per_minute)), now_ns
