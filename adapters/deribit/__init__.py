"""Deribit, https://docs.deribit.com/: `adapter` is the session on one connection, the others read what it brings."""

from __future__ import annotations

from pricer.adapters.deribit.account import Credentials
from pricer.adapters.deribit.adapter import Deribit
from pricer.adapters.deribit.settings import DeribitSettings

__all__ = ["Credentials", "Deribit", "DeribitSettings"]
