"""What the engine publishes: `snapshot` is everything at one moment, `row` one option of it, `block` one expiry.

`fields` names the numbers, `underlying` has the index and the forwards, `health` what stands beside, and `columns`
makes arrays and data frames of it.
"""

from __future__ import annotations

from pricer.snapshot.block import Ints, SliceBlock, SliceDefinition
from pricer.snapshot.fields import (
    DELTA_FORMS,
    FIELD_INDEX,
    FIRST_MODEL,
    FIRST_QUOTE_IV,
    GREEK_FIELDS,
    MODEL_FIELDS,
    QUOTE_IV_FIELDS,
    ROW_PAIR,
    STATUS_PAIRS,
    VALUE_FIELDS,
    VENUE_FIELDS,
    not_subscribed,
)
from pricer.snapshot.health import AccountView, FeedHealth, VenueHealth
from pricer.snapshot.row import OK_ONLY, Row
from pricer.snapshot.snapshot import Snapshot
from pricer.snapshot.underlying import ParityForward, UnderlyingValue

__all__ = [
    "DELTA_FORMS",
    "FIELD_INDEX",
    "FIRST_MODEL",
    "FIRST_QUOTE_IV",
    "GREEK_FIELDS",
    "MODEL_FIELDS",
    "OK_ONLY",
    "QUOTE_IV_FIELDS",
    "ROW_PAIR",
    "STATUS_PAIRS",
    "VALUE_FIELDS",
    "VENUE_FIELDS",
    "AccountView",
    "FeedHealth",
    "Ints",
    "ParityForward",
    "Row",
    "SliceBlock",
    "SliceDefinition",
    "Snapshot",
    "UnderlyingValue",
    "VenueHealth",
    "not_subscribed",
]
