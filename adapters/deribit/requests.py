"""What is asked of Deribit beside the account's own calls: what goes out when, and what comes of it.

Three kinds of call, each with its keeper: lists of instruments (`Catalog`), upkeep of the connection (`Upkeep`) and
subscriptions (`Session`). They share the numbering, the venue's budget, and what a refusal means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pricer.adapters.adapter import WsSend
from pricer.adapters.budget import Budget
from pricer.adapters.deribit import rpc
from pricer.adapters.deribit.catalog import Catalog
from pricer.adapters.deribit.limits import CALL
from pricer.adapters.deribit.platform import Platform
from pricer.adapters.deribit.refusals import Refusals
from pricer.adapters.deribit.roster import Roster
from pricer.adapters.deribit.upkeep import Upkeep
from pricer.adapters.events import AnyEvent
from pricer.adapters.session import ORDINARY, Session, Verdict
from pricer.adapters.wire import DECODE_ERRORS, Note, decode_object
from pricer.clock import Instant

TOO_MANY_REQUESTS = 10028


class Requests:
    """The calls of one connection that are owed, or wait for their replies."""

    def __init__(
        self,
        session: Session,
        catalog: Catalog,
        upkeep: Upkeep,
        *,
        platform: Platform,
        roster: Roster,
        refusals: Refusals,
        budget: Budget,
        timeout_ns: int,
        note: Note,
    ) -> None:
        self._session = session
        self._catalog = catalog
        self._upkeep = upkeep
        self._platform = platform
        self._roster = roster
        self._refusals = refusals
        self._budget = budget
        self._note = note
        self._calls = rpc.Calls(timeout_ns)
        self._answers: list[WsSend] = []

    def forget(self) -> None:
        """A new connection answers none of them."""
        self._calls.clear()
        self._answers = []

    # What goes out

    def answer_test(self, now: Instant) -> None:
        """The venue wants to hear from us. Unpaced: without the answer it closes the connection."""
        self._answers.append(self._call("public/test", {}, "test", now))

    def answers(self) -> list[WsSend]:
        """What the venue has asked for, once."""
        answers, self._answers = self._answers, []
        return answers

    def upkeep(self, now: Instant) -> list[WsSend]:
        """What keeps the connection honest; to a venue that refuses everything, a knock."""
        return [self._call(*each, now) for each in self._upkeep.due(now, refuses=self._platform.refuses)]

    def due(self, now: Instant) -> list[WsSend]:
        """Of a venue that answers: lists, then subscriptions, as many as its limits allow."""
        sends: list[WsSend] = []
        while (key := self._catalog.due(now.mono_ns)) is not None and self._budget.take(CALL, now.mono_ns):
            params = self._catalog.asked(key, now.mono_ns)
            sends.append(self._call("public/get_instruments", params, "list", now, key))
        while (request := self._session.next_request(now.mono_ns)) is not None:
            sends.append(rpc.request(request.id, f"public/{request.operation}", {"channels": request.channels}))
        return sends

    def deadlines(self, now: Instant) -> Iterator[int]:
        """When a call is due, or its time over."""
        refuses = self._platform.refuses
        yield from self._calls.deadlines()
        if (upkeep_ns := self._upkeep.next_deadline(now, refuses=refuses)) is not None:
            yield upkeep_ns
        if not refuses:
            yield from self._catalog.deadlines(now.mono_ns)
            if (session_ns := self._session.next_deadline(now.mono_ns)) is not None:
                yield session_ns

    def _call(self, method: str, params: dict[str, Any], purpose: rpc.Purpose, now: Instant, about: str = "") -> WsSend:
        request_id = self._session.new_id()
        self._calls.add(request_id, purpose, now.mono_ns, about)
        return rpc.request(request_id, method, params)

    # What comes of it

    def reply(self, envelope: rpc.Envelope, now: Instant, events: list[AnyEvent]) -> None:
        """A reply to one of these calls, or in a recording to somebody else's."""
        if envelope.is_error:
            self._refused(envelope.id, decode_object(envelope.error) or {}, now, events)
            return
        if self._platform.answered(now, events):
            self.resume(now)
        call = self._calls.pop(envelope.id)
        try:
            if call is None:
                self._subscribed(envelope.id, envelope.result, now, events)
            elif call.purpose == "list":
                self._roster.listed(call.about, envelope.result, now, events)
            else:
                self._upkeep.answered(call, envelope, now, events)
        except DECODE_ERRORS:
            self._note("bad_reply")
            if call is not None and call.purpose == "list":
                self._catalog.failed(call.about, now)

    def resume(self, now: Instant) -> None:
        """The venue answers again: nothing waits for a pause that was made while it did not."""
        self._session.resume(now.mono_ns)
        self._catalog.resume(now)

    def on_time(self, now: Instant) -> int:
        """Give up what was not answered in time. Gives how many calls that were."""
        unanswered = self._session.on_time(now.mono_ns)
        overdue = self._calls.overdue(now.mono_ns)
        for call in overdue:
            if call.purpose == "list":
                self._catalog.failed(call.about, now)
            elif self._upkeep.unanswered(call):
                self._session.probe_now()
        return unanswered + len(overdue)

    def _subscribed(self, request_id: int | None, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """A reply to a subscription call, or to none of ours: in a recording it may be somebody else's list."""
        if request_id is not None and self._session.is_pending(request_id):
            # An answer that is no list leaves the request to its time-out.
            rejected = self._session.accepted(request_id, rpc.decode_names(result), now.mono_ns)
            self._refusals.refused(rejected or [], "not_accepted", now, events)
        elif bytes(result).lstrip().startswith(b"[{"):
            self._roster.listed(None, result, now, events)
        else:
            self._note("unknown_id")

    def _refused(self, request_id: int | None, error: dict[str, Any], now: Instant, events: list[AnyEvent]) -> None:
        code = error.get("code")
        code = code if type(code) is int else 0
        self._note("error.too_many_requests" if code == TOO_MANY_REQUESTS else "error.other")
        self._platform.refused(code, now, events)
        if self._platform.refuses:
            self._upkeep.knock(now)
        if request_id is None:
            return  # an oversize frame: its request runs into its time-out
        call = self._calls.get(request_id)
        if code == TOO_MANY_REQUESTS:
            # Whoever shares the pool has to wait: our reckoning of it was wrong.
            self._budget.drain(ORDINARY if call is None else CALL, now.mono_ns)
        if call is not None:
            self._call_refused(call, now)
            return
        passing, for_all = code in rpc.PASSING_ERRORS, code in rpc.ERRORS_FOR_ALL
        verdict: Verdict = "later" if passing else "reject" if for_all else "split"
        rejected = self._session.refused(request_id, verdict, now.mono_ns)
        self._refusals.refused(rejected or [], str(code) if code else "error", now, events)

    def _call_refused(self, call: rpc.Call, now: Instant) -> None:
        if call.purpose != "heartbeat":  # that is asked again when its time is over, not at once
            self._calls.pop(call.id)
        if call.purpose == "list":
            self._catalog.failed(call.about, now)
        else:
            self._upkeep.refused(call)
