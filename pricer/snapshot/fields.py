"""The numbers of an option by name, in the order of their arrays, and the four statuses that go with them."""

from __future__ import annotations

# The quote family is made at the quote's own instant; a forward tick does not change it.
VENUE_FIELDS = ("bid", "ask", "bid_size", "ask_size", "mark", "mark_iv")
QUOTE_IV_FIELDS = ("bid_iv", "ask_iv", "mid_iv")
# The model family is made at the published surface, with the forward and the time of the snapshot.
GREEK_FIELDS = (
    "price",
    "delta",
    "gamma",
    "vega",
    "theta",
    "rho",
    "vanna",
    "volga",
    "charm",
    "veta",
    "speed",
    "zomma",
    "color",
    "ultima",
)
DELTA_FORMS = (
    "delta_premium_adjusted",
    "delta_coin",
    "delta_cash",
    "delta_cash_premium_adjusted",
    "delta_spot",
    "vega_coin",
)
MODEL_FIELDS = ("theo", *GREEK_FIELDS, *DELTA_FORMS, "iv_error")
VALUE_FIELDS = (*VENUE_FIELDS, *QUOTE_IV_FIELDS, "iv", *MODEL_FIELDS)
FIELD_INDEX = {name: i for i, name in enumerate(VALUE_FIELDS)}
FIRST_QUOTE_IV = FIELD_INDEX["bid_iv"]
FIRST_MODEL = FIELD_INDEX["theo"]

# The four status pairs of a row, in the order of their arrays; the last is the row's own.
STATUS_PAIRS = ("bid_iv", "ask_iv", "mid_iv", "model")
ROW_PAIR = STATUS_PAIRS.index("model")


def check_field(name: str) -> None:
    """An unknown field is an AttributeError."""
    if name not in FIELD_INDEX:
        raise AttributeError(f"no field {name!r}; the fields are {', '.join(VALUE_FIELDS)}")


def not_subscribed(name: str) -> str:
    """What is said of a field that a client of a sidecar left out."""
    return f"not subscribed: connect(columns=...) has no {name!r}"
