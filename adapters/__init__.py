"""Exchange adapters: venue frames in, normalised events out."""

from __future__ import annotations

from pricer.adapters.deribit import Deribit

__all__ = ["ADAPTERS"]

# By the venue's name; each takes the underlyings first and has the venue's own address as `url`.
ADAPTERS: dict[str, type[Deribit]] = {Deribit.venue: Deribit}
