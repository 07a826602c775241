"""One option: every column, its expiry and its index; on request, how each number came about."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from pricer.conventions import NO_TIME, Reason, Status
from pricer.sidecar.channels.chain import moment
from pricer.sidecar.explain import Option, explanation
from pricer.sidecar.messages import Head, Message
from pricer.sidecar.moment import definition, expiry, or_none, or_null
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.tables import table_of
from pricer.sidecar.routes.views import View, Views, answer
from pricer.sidecar.slices import INSTANTS, Slice
from pricer.snapshot import ROW_PAIR, STATUS_PAIRS, VALUE_FIELDS, SliceBlock

Name = Annotated[str, Path(min_length=1, max_length=64, description="As the venue names it.")]


def instruments(views: Views) -> APIRouter:
    """The path."""
    router = APIRouter(prefix="/v1", tags=["instrument"])

    @router.get("/instrument/{name}", **documented(models.Instrument))
    async def instrument(
        request: Request,
        name: Name,
        explain: Annotated[bool, Query(description="Also tell every step to these numbers.")] = False,
        venue: asked.Venue = None,
        format: asked.Format = None,
    ) -> Response:
        """One option: every column, its expiry, its index, and with `explain` how each number came about.

        The steps are formulas with their inputs in full doubles, so that a reader can redo them by hand, and `why`
        says what keeps a number from being OK.
        """
        view = view_of(views, name, venue)
        return answer(
            request,
            view,
            ("instrument", name, explain),
            lambda: Message(instrument_body(view, name, explain=explain)),
            lambda: table_of(view.head(), [row_of(view, *found(view, name))]),
            has_table=not explain,
        )

    return router


def view_of(views: Views, name: str, venue: str | None) -> View:
    """The view that an instrument is in; `Refusal` 404 where there is no such name."""
    snapshot = views.hub.snapshot
    block = _block(snapshot.blocks, name, venue)
    if block is not None:
        view = views.of(block.key.venue, block.definition.underlying)
        if _block(view.snapshot.blocks, name, venue) is not None:
            return view
    raise Refusal(
        404, f"no instrument {name!a} among the {len(snapshot)} options of this sidecar", "unknown_instrument"
    )


def _block(blocks: tuple[SliceBlock, ...], name: str, venue: str | None) -> SliceBlock | None:
    return next((b for b in blocks if name in b.definition.rows and venue in (None, b.key.venue)), None)


def found(view: View, name: str) -> tuple[Slice, int]:
    """Where an instrument stands in its picture."""
    for piece in view.picture.slices:
        row = piece.block.definition.rows.get(name)
        if row is not None:
            return piece, row
    raise Refusal(404, f"no instrument {name!a}", "unknown_instrument")


def row_of(view: View, piece: Slice, row: int) -> Head:
    """One row of the chain's table, and its ages."""
    of, block, now = piece.block.definition, piece.block, view.now
    out: Head = {
        "name": of.names[row],
        "expiry_ns": of.key.expiry_ns,
        "strike": float(of.strike[row]),
        "cp": int(of.cp[row]),
    }
    out |= {name: or_none(value) for name, value in zip(VALUE_FIELDS, piece.values[:, row].tolist(), strict=True)}
    for pair, name in enumerate(STATUS_PAIRS):
        prefix = "" if pair == ROW_PAIR else f"{name}_"
        out[f"{prefix}status"] = Status(int(piece.status[pair, row])).name
        out[f"{prefix}reasons"] = list(Reason(int(piece.reasons[pair, row])).names)
    out |= {name: or_null(ns) for name, ns in zip(INSTANTS, piece.instants[:, row].tolist(), strict=True)}
    for name in ("tick_size", "min_amount", "contract_size"):
        out[name] = float(getattr(of, name)[row])
    out["settlement_currency"] = of.settlement_currency
    quoted = int(block.quote_mono_ns[row])
    out["quote_age_ns"] = None if quoted == NO_TIME else now.mono_ns - quoted
    out["forward_age_ns"] = block.forward.age_ns(now)
    out["fit_age_ns"] = None if block.fitted is None else now.mono_ns - block.fitted.mono_ns
    return out


def instrument_body(view: View, name: str, *, explain: bool = False) -> Head:
    """One row, its expiry and the moment, whose reasons stand with the row's own."""
    piece, row = found(view, name)
    option = row_of(view, piece, row)
    body = moment(view.picture, view.venue, view.digits)
    body.pop("expiries")
    informing = [each for each in body.pop("reasons") if each not in option["reasons"]]
    out = {
        **view.head(),
        **option,
        "reasons": [*option["reasons"], *informing],
        "expiry": definition(piece.block) | expiry(piece.block, view.now, view.digits),
        **body,
        "convention": asdict(view.snapshot.convention),
    }
    if explain:
        out["explain"] = explanation(Option(view.snapshot, piece, row, view.digits), view.now)
    return out
