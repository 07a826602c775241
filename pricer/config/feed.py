"""`[feed]`: the venue, what is priced of it, the way there, and the account's key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, SecretStr, model_validator

from pricer.config.section import Section, Words

if TYPE_CHECKING:
    from pricer.adapters.deribit import Credentials


class FeedSection(Section):
    """Where quotes come from."""

    venue: str = Field("deribit", min_length=1, description="The exchange: one of the adapters' names.")
    underlyings: Words = Field(
        ("BTC",), min_length=1, description="What to price; BTC is the venue's coin-settled family."
    )
    url: str | None = Field(
        None,
        pattern=r"^wss?://[^\s/]+",
        description="The venue's WebSocket address; by default the venue's own. The embedded market has one, too.",
    )
    transport: Literal["websockets", "picows"] = Field(
        "websockets", description="The WebSocket library; picows, of the extra [fast], costs less per frame."
    )
    ca_file: str | None = Field(
        None, min_length=1, description="Authorities to verify certificates against (PEM); by default the system's."
    )
    proxy: str = Field(
        "environment",
        repr=False,
        description="An HTTP proxy's address; `environment` obeys HTTPS_PROXY, HTTP_PROXY, NO_PROXY; empty is none.",
    )
    compression: bool = Field(False, description="Offer the venue to compress (permessage-deflate).")
    connections: int = Field(1, ge=1, le=32, description="Over so many connections the options are spread.")
    strikes: int | None = Field(
        None, ge=1, description="So many strikes on each side of the money, rolling with it; by default all."
    )
    expiries: int | None = Field(None, ge=1, description="The nearest so many expiries; by default all.")
    trades: bool | None = Field(
        None, description="Stream public trades, for the channel `trades`; by default the demo does, `serve` does not."
    )
    books_on_demand: int = Field(
        16, ge=0, le=500, description="So many order books at most are streamed while clients look at their `depth`."
    )
    client_id: str | None = Field(
        None, min_length=1, description="The name of a key of yours at the venue, to read the account with."
    )
    client_secret: SecretStr | None = Field(
        None, min_length=1, description="Its secret; in the environment, or in a file that only you can read."
    )
    login: Literal["credentials", "signature"] = Field(
        "credentials", description="Send the secret to the venue, or sign with it, which needs a right clock."
    )

    excess_rights: Literal["warn", "refuse"] = Field(
        "warn", description="What follows where the venue lets the key do more than read: a warning, or no login."
    )

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret must both be given, or neither")
        return self

    def credentials(self) -> Credentials | None:
        """The key of the account, where one is given."""
        from pricer.adapters.deribit import Credentials

        if self.client_id is None or self.client_secret is None:
            return None
        secret = self.client_secret.get_secret_value()
        return Credentials(self.client_id, secret, self.login, excess_rights=self.excess_rights)
