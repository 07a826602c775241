"""What keeps an option's numbers from being OK: the reasons in words, and the evidence for each."""

from __future__ import annotations

import math

from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.sidecar.explain.option import Option
from pricer.sidecar.meanings import MEANINGS
from pricer.sidecar.messages import Head
from pricer.sidecar.moment import or_none
from pricer.snapshot import ROW_PAIR, STATUS_PAIRS


def why_not_ok(option: Option, now: Instant) -> list[Head]:
    """For each status that is not OK: the reasons in words, with what they were decided on."""
    out = []
    for pair, name in enumerate(STATUS_PAIRS):
        status = Status(int(option.piece.status[pair, option.row]))
        reasons = Reason(int(option.piece.reasons[pair, option.row]))
        if status != Status.OK:
            because = [
                {"reason": reason.name, "means": MEANINGS[reason], "evidence": _evidence(option, reason, now)}
                for reason in Reason
                if reason in reasons
            ]
            out.append(
                {"of": "iv, theo, Greeks" if pair == ROW_PAIR else name, "status": status.name, "because": because}
            )
    return out


def _evidence(option: Option, reason: Reason, now: Instant) -> Head:
    """The numbers behind a reason; empty where the words say all."""
    block, row = option.piece.block, option.row
    quoted = int(block.quote_mono_ns[row])
    forward_age = block.forward.age_ns(now)
    if reason in Reason.ONE_SIDED | Reason.NO_QUOTE | Reason.CROSSED | Reason.LOCKED:
        return {"bid": option.published("bid"), "ask": option.published("ask")}
    if reason == Reason.WIDE_SPREAD:
        return {"bid_iv": option.published("bid_iv"), "ask_iv": option.published("ask_iv")}
    if reason in Reason.QUOTE_STALE | Reason.RESYNCING:
        age = None if quoted == NO_TIME else now.mono_ns - quoted
        return {"quote_age_ns": age, "late_by_ns": _late(int(block.quote_valid_until_ns[row]), now)}
    if reason in Reason.UNDERLYING_STALE | Reason.NO_UNDERLYING | Reason.FORWARD_IMPLIED:
        source = block.forward.source
        return {"source": source, "forward_age_ns": forward_age, "late_by_ns": _late(block.forward.valid_until_ns, now)}
    if reason in Reason.FIT_LAST_GOOD | Reason.FIT_FAILED:
        return {"fit_age_ns": None if block.fitted is None else now.mono_ns - block.fitted.mono_ns}
    if reason == Reason.FIT_UNDERDETERMINED:
        return {"two_sided_strikes": None if block.fit is None else block.fit.selection.mids}
    if reason == Reason.EXTRAPOLATED and block.fit is not None and block.forward.value > 0.0:
        k = math.log(option.strike / block.forward.value)
        return {"k": k, "k_min": or_none(block.fit.k_min), "k_max": or_none(block.fit.k_max)}
    if reason in Reason.SETTLING | Reason.EXPIRED:
        return {"to_expiry_ns": block.key.expiry_ns - now.wall_ns}
    return {}


def _late(valid_until_ns: int, now: Instant) -> int | None:
    """By how much a limit has passed; None where it has not, or there is none."""
    return None if valid_until_ns == NO_TIME or now.mono_ns <= valid_until_ns else now.mono_ns - valid_until_ns
