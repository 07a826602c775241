"""The field numbers of the `.proto`, append-only: a reader of any age must find its fields where they were.

A message's fields are numbered 1, 2, 3 in the order of its list. New names go to the end; a name that is no longer sent
stays, and is `reserved` in the `.proto`. `python -m pricer.sidecar.schemas` refuses to write a `.proto` in which a
number has become another field's.
"""

NUMBERS = {
    # The bodies of the two outermost messages.
    "Message": (
        "welcome chain_snapshot chain_delta forward_snapshot forward_delta surface_snapshot surface_delta "
        "health_snapshot health_delta trades_snapshot trades_delta depth_snapshot depth_delta heartbeat gap resumed "
        "unsubscribed pong error authorized alerts_snapshot alerts_delta"
    ),
    "Request": "subscribe unsubscribe ping auth",
    "Welcome": "protocol session server heartbeat_s encodings mono_ns sent_ns",
    "ChainSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session index perpetual feeds expiries convention stream"
    ),
    "Price": "value source exchange_ns received_ns age_ns valid_until_ns status reasons",
    "Perpetual": "value source exchange_ns received_ns age_ns valid_until_ns status reasons bid ask funding",
    "Feed": "venue connection state reason since_ns",
    "Expiry": (
        "expiry_ns ttm forward fitted_ns fit_age_ns valid_until_ns price_index settlement settlement_currency "
        "quote_currency options"
    ),
    "Forward": "value source exchange_ns received_ns age_ns valid_until_ns status reasons error parity",
    "Parity": "value error gap",
    "Convention": "greeks day_count dynamics theta value_currency",
    "ChainColumns": (
        "name expiry_ns strike cp bid ask bid_size ask_size mark mark_iv bid_iv ask_iv mid_iv iv theo price delta "
        "gamma vega theta rho vanna volga charm veta speed zomma color ultima delta_premium_adjusted delta_coin "
        "delta_cash delta_cash_premium_adjusted delta_spot vega_coin iv_error bid_iv_status bid_iv_reasons "
        "ask_iv_status ask_iv_reasons mid_iv_status mid_iv_reasons status reasons quote_exchange_ns "
        "quote_received_ns quote_mono_ns quote_valid_until_ns tick_size min_amount contract_size "
        "settlement_currency quote_age_ns forward_age_ns fit_age_ns"
    ),
    "ChainDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows index perpetual feeds expiries"
    ),
    "ExpiryNow": "expiry_ns ttm forward fitted_ns fit_age_ns valid_until_ns",
    "ForwardSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session stream"
    ),
    "ForwardColumns": (
        "name kind expiry_ns ttm value bid ask funding basis parity parity_error parity_gap source exchange_ns "
        "received_ns mono_ns valid_until_ns status reasons"
    ),
    "ForwardDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows"
    ),
    "SurfaceSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session surface_version stream"
    ),
    "SurfaceColumns": (
        "expiry_ns ttm forward model a b rho m sigma k_min k_max atm_iv rr25 bf25 min_g min_calendar_gap certified "
        "fitted_ns mono_ns valid_until_ns status reasons"
    ),
    "SurfaceDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows surface_version"
    ),
    "HealthSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session latency options clients streams alarms stream"
    ),
    "Latency": "p50_ns p90_ns p99_ns count",
    "HealthColumns": "name kind state detail since_ns lag_ns skew_ns status reasons",
    "HealthDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows latency options clients streams alarms"
    ),
    "TradesSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session tape stream"
    ),
    "TradesColumns": "number instrument id price amount side iv index exchange_ns received_ns",
    "TradesDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows tape"
    ),
    "DepthSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session book micro stream"
    ),
    "Book": "status reasons exchange_ns received_ns age_ns detail",
    "Tape": "status reasons detail",
    "Micro": "imbalance microprice spread bid_depth_vega ask_depth_vega",
    "DepthColumns": "bid_price bid_amount ask_price ask_amount",
    "DepthDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows book micro"
    ),
    "AlertsSnapshot": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns protocol session raised stream"
    ),
    "AlertsColumns": "rule subject metric limit since_ns state value status reasons",
    "AlertsDelta": (
        "seq venue underlying instrument sent_ns mono_ns version venue_ns received_ns computed_ns computed_age_ns "
        "reasons crc32 columns rows raised"
    ),
    "Heartbeat": "channel venue underlying instrument seq sent_ns mono_ns",
    "Gap": "channel venue underlying instrument from to",
    "Resumed": "channel venue underlying instrument from to stream",
    "Unsubscribed": "channel venue underlying instrument seq",
    "Pong": "sent_ns mono_ns",
    "Authorized": "scopes",
    "Error": "code message channel venue underlying instrument",
    "Subscribe": "channel underlying venue instrument columns expiries strikes interval_ms session seq stream",
    "Expiries": "first names",
    "Strikes": "count percent delta",
    "Unsubscribe": "channel underlying venue instrument",
    "Ping": "",
    "Auth": "token",
}
