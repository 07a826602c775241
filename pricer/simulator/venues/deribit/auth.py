"""Deribit's login: keys, grants, tokens and their expiry. Section 7 of the protocol sheet.

Not in any source at hand, and so our choice: how far a signature's timestamp may be off (`Limits.signature_skew_s`),
that a nonce is refused when it was used within that time, the reason words in `data`, that a seventeenth session of a
key is refused with 13021 `forbidden`, and that a refresh token serves once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pricer.clock import Clock
from pricer.simulator.venues.deribit.errors import Limits, RpcError, invalid

NS_PER_SECOND = 1_000_000_000
SCOPE = "account:read trade:read wallet:none"
HTTP_SCHEME = "deri-hmac-sha256 "

_KEPT_TOKENS = 1_000
_KEPT_NONCES = 10_000


@dataclass(frozen=True, slots=True)
class Login:
    """Who a session or request speaks for, and until when by the monotonic clock."""

    account: str
    expires_ns: int
    scope: str = SCOPE

    def stands(self, mono_ns: int) -> bool:
        """Whether it has not run out."""
        return mono_ns < self.expires_ns


@dataclass
class Keys:
    """The venue's API keys, `{client_id: client_secret}`, and what was granted for them."""

    secrets: Mapping[str, str] = field(repr=False)
    clock: Clock
    limits: Limits
    refused: bool = False  # a fault: no login succeeds
    rights: str = SCOPE  # what a login is good for, whatever was asked; a key of more rights is a fault, too
    granted: int = 0
    _access: dict[str, Login] = field(default_factory=dict, repr=False)
    _refresh: dict[str, Login] = field(default_factory=dict, repr=False)
    _nonces: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)

    def grant(self, params: Mapping[str, Any]) -> tuple[Login, dict[str, Any]]:
        """The answer to `public/auth`; RpcError when it is refused."""
        match params.get("grant_type"):
            case "client_credentials":
                account = self._by_secret(params)
            case "client_signature":
                account = self._by_signature(params)
            case "refresh_token":
                account = self._by_refresh(params)
            case _:
                raise invalid("grant_type")
        if self.refused:
            raise RpcError(13004, "invalid_credentials")
        return self._issue(account, str(params.get("scope", "")))

    def login_of(self, token: object) -> Login:
        """Who an access token speaks for; 13009 where it is unknown or has run out."""
        login = self._access.get(token) if isinstance(token, str) else None
        if login is None or not login.stands(self.clock.now().mono_ns):
            raise RpcError(13009, "invalid_token", {"reason": "token has expired", "param": "access_token"})
        return login

    def login_of_header(self, header: str, target: str) -> Login:
        """Who the `Authorization` header of a GET of `target` speaks for: a bearer token, or a signed request."""
        if header.lower().startswith("bearer "):
            return self.login_of(header[len("bearer ") :])
        if not header.startswith(HTTP_SCHEME):
            raise RpcError(13009, "unauthorized")
        parts = dict(part.strip().partition("=")[::2] for part in header[len(HTTP_SCHEME) :].split(","))
        account, stamp, nonce = parts.get("id", ""), parts.get("ts", ""), parts.get("nonce", "")
        self._check(account, stamp, nonce, f"{stamp}\n{nonce}\nGET\n{target}\n\n", parts.get("sig", ""))
        return Login(account, self.clock.now().mono_ns + NS_PER_SECOND)

    def _by_secret(self, params: Mapping[str, Any]) -> str:
        account, secret = params.get("client_id"), params.get("client_secret")
        for name, value in (("client_id", account), ("client_secret", secret)):
            if not isinstance(value, str):
                raise invalid(name)
        known = self.secrets.get(str(account))
        if known is None or not hmac.compare_digest(known.encode(), str(secret).encode()):
            raise RpcError(13004, "invalid_credentials")
        return str(account)

    def _by_signature(self, params: Mapping[str, Any]) -> str:
        for name in ("client_id", "signature", "nonce"):
            if not isinstance(params.get(name), str):
                raise invalid(name)
        stamp = params.get("timestamp")
        if not isinstance(stamp, int | str):
            raise invalid("timestamp")
        signed = f"{stamp}\n{params['nonce']}\n{params.get('data', '')}"
        self._check(params["client_id"], str(stamp), params["nonce"], signed, params["signature"])
        return str(params["client_id"])

    def _check(self, account: str, stamp: str, nonce: str, signed: str, signature: str) -> None:
        if account not in self.secrets:
            raise RpcError(13004, "invalid_credentials")
        expected = hmac.new(self.secrets[account].encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise RpcError(13004, "invalid_credentials", {"reason": "wrong signature", "param": "signature"})
        now_ns, skew_ns = self.clock.now().wall_ns, int(self.limits.signature_skew_s * NS_PER_SECOND)
        if not stamp.isdecimal() or abs(int(stamp) * 1_000_000 - now_ns) > skew_ns:
            raise RpcError(13004, "invalid_credentials", {"reason": "timestamp out of range", "param": "timestamp"})
        self._nonces = {key: until for key, until in self._nonces.items() if until > now_ns}
        if (account, nonce) in self._nonces or len(self._nonces) >= _KEPT_NONCES:
            raise RpcError(13004, "invalid_credentials", {"reason": "nonce was used", "param": "nonce"})
        self._nonces[account, nonce] = now_ns + 2 * skew_ns

    def _by_refresh(self, params: Mapping[str, Any]) -> str:
        token = params.get("refresh_token")
        if not isinstance(token, str):
            raise invalid("refresh_token")
        login = self._refresh.pop(token, None)
        if login is None:
            raise RpcError(13009, "invalid_token", {"reason": "unknown token", "param": "refresh_token"})
        return login.account

    def _issue(self, account: str, extra: str) -> tuple[Login, dict[str, Any]]:
        self.granted += 1
        expires_s = self.limits.token_s
        scope = f"{extra or 'connection'} {self.rights}"
        login = Login(account, self.clock.now().mono_ns + int(expires_s * NS_PER_SECOND), scope)
        access, refresh = (self._token(account, what) for what in ("access", "refresh"))
        for kept, token in ((self._access, access), (self._refresh, refresh)):
            kept[token] = login
            if len(kept) > _KEPT_TOKENS:
                del kept[next(iter(kept))]
        return login, {
            "token_type": "bearer",
            "scope": scope,
            "refresh_token": refresh,
            "expires_in": int(expires_s),
            "enabled_features": [],
            "access_token": access,
        }

    def _token(self, account: str, what: str) -> str:
        stamp = self.clock.now().wall_ns // 1_000_000
        word = f"{what}\n{account}\n{stamp}\n{self.granted}"
        return f"{stamp}.{hmac.new(self.secrets[account].encode(), word.encode(), hashlib.sha256).hexdigest()}"
