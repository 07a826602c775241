"""What most of the sidecar's tests begin with: a chain made by hand, and its first snapshot published."""

from __future__ import annotations

import pytest

from pricer.clock import SystemClock
from tests.adapters.conftest import certificates as certificates  # the same test authority
from tests.sidecar.snapshots import Market, Source


@pytest.fixture
def market() -> Market:
    return Market(SystemClock())


@pytest.fixture
def source(market: Market) -> Source:
    out = Source()
    out.publish(market.snapshot())
    return out
