"""The channel `alerts`: what is raised now, a row each. Rules are the operator's; see docs/alerts.md.

A row comes with `raised` and goes when its alert is over. Its `status` is that of the number, not of the alert: an
alert whose number nobody may act on now lasts, and is STALE.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pricer.conventions import NO_REASON, Reason, Status
from pricer.sidecar.alerts.metrics import METRICS
from pricer.sidecar.alerts.watch import Active
from pricer.sidecar.channels.channel import Channel, Market
from pricer.sidecar.channels.table import Table, chosen
from pricer.sidecar.messages import Column
from pricer.sidecar.moment import newest_of, stages
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.rounding import round_significant

IDENTITY = ("rule", "subject", "metric", "limit", "since_ns")
VALUES = ("state", "value")
# A message with more rows would be as large as a whole chain's; `raised` in the head tells how many there are.
MOST_ROWS = 1000


class AlertsChannel(Channel):
    """One row an alert, in the order of the rules."""

    name = "alerts"
    columns = VALUES
    required = frozenset()

    def take(self, market: Market, key: StreamKey, previous: Table | None = None) -> Table:
        """What is raised at this moment."""
        snapshot, active = market.snapshot, market.served.alerts
        now = snapshot.clock.now()
        columns = chosen(_columns(active[:MOST_ROWS], market.digits), VALUES, key.columns)
        received = newest_of(*snapshot.indices.values(), *snapshot.perpetuals.values())
        head = {**stages(snapshot, now, received), "raised": len(active)}
        return Table(now, columns, IDENTITY, head, news=len(active))


def _columns(active: Sequence[Active], digits: int) -> dict[str, Column]:
    status = [Status.OK if each.is_current else Status.STALE for each in active]
    reasons = [NO_REASON if each.is_current else _why(each) for each in active]
    return {
        "rule": [each.rule.name for each in active],
        "subject": [each.subject for each in active],
        "metric": [each.rule.metric_text for each in active],
        "limit": [each.rule.limit_text for each in active],
        "since_ns": np.array([each.since.wall_ns for each in active], np.int64),
        "state": ["raised"] * len(active),
        "value": round_significant(np.array([each.value for each in active], np.float64), digits),
        "status": np.array(status, np.uint8),
        "reasons": np.array([int(reason) for reason in reasons], np.uint64),
    }


def _why(active: Active) -> Reason:
    """What the number of a subject without one lacks, as far as its kind tells."""
    return Reason.QUOTE_STALE if METRICS[active.rule.metric].of == "option" else Reason.UNDERLYING_STALE
