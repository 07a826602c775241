"""One underlying as HTTP answers see it: the last picture of its chain's stream, and what was made of that already.

All answers about one underlying carry the `seq` of its chain, so one number says whether anything has changed. An
answer is made and encoded once for each picture and format, however many ask: polling costs a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from fastapi import Request, Response

from pricer.clock import Instant
from pricer.sidecar.channels.chain import ChainPicture
from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import Refused, StreamKey
from pricer.sidecar.routes import formats
from pricer.sidecar.routes.errors import refusal_of
from pricer.sidecar.routes.tables import table_of
from pricer.sidecar.slices import Picture
from pricer.sidecar.stream import Stream
from pricer.snapshot import Snapshot

# Different answers that are kept of one picture: smiles of all expiries, and a page of instruments.
MOST_KEPT = 256

Make = Callable[[], Message]


class View:
    """One underlying at the moment of its picture."""

    def __init__(self, views: Views, stream: Stream, session: str, digits: int) -> None:
        self._views = views
        picture = stream.picture
        assert isinstance(picture, ChainPicture)
        self.picture: Picture = picture.picture
        self.stream = stream
        self.seq = stream.seq
        self.session = session
        self.venue, self.underlying = stream.key.venue, stream.key.underlying
        self.digits = digits
        # Weak, since ages grow while nothing changes, and since each format is another text.
        # Of the stream, too: the same words may mean another one once another expiry is listed.
        self.tag = f'W/"{session}.{stream.number}.{stream.seq}"'
        self._kept: dict[Hashable, Message] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The engine's numbers behind it, of this underlying alone."""
        return self.picture.snapshot

    @property
    def now(self) -> Instant:
        """The moment whose statuses and ages these are."""
        return self.picture.now

    def head(self) -> dict[str, Any]:
        """How every answer begins."""
        return {
            "seq": self.seq,
            "session": self.session,
            "venue": self.venue,
            "underlying": self.underlying,
            "version": self.snapshot.version,
            "computed_ns": self.snapshot.computed_ns,
            "sent_ns": self.now.wall_ns,
            "mono_ns": self.now.mono_ns,
        }

    def kept(self, what: Hashable, make: Make) -> Message:
        """The answer to a question, made when it is first asked."""
        found = self._kept.get(what)
        if found is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[what] = make()
        return found

    def is_newest(self) -> bool:
        """Is this what one would be told now?"""
        return self._views.at(self.stream.key) is self

    def answered(self, what: Hashable, form: formats.Format, known: str | None) -> Response | None:
        """What was made of `what`, in a format; 304 where `known`, If-None-Match, names it. None where nothing was."""
        headers = {"etag": self.tag, "cache-control": "private, no-cache", "vary": "accept"}
        if is_known(known, self.tag):
            return Response(None, 304, headers)
        message = self._kept.get(what)
        return None if message is None else written(message, form, headers)


class Views:
    """The views of a hub's streams, each as long as its picture is the last one."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def of(self, venue: str | None, underlying: str) -> View:
        """An underlying's whole chain at this moment; `Refusal` 404 where there is none."""
        return self.at(StreamKey("chain", self.checked(venue, underlying), underlying))

    def at(self, key: StreamKey) -> View:
        """The view of one stream, moved on to this moment; `Refusal` 503 where too many are in use."""
        try:
            stream = self.hub.current(key)
        except Refused as refused:
            raise refusal_of(refused) from None
        view = stream.view
        if not isinstance(view, View) or not _is_of(view, stream):
            view = stream.view = View(self, stream, self.hub.metrics.session, self.hub.settings.significant_digits)
        return view

    def checked(self, venue: str | None, underlying: str) -> str:
        """The venue to use; `Refusal` 404 where it or the underlying is unknown."""
        try:
            self.hub.check(venue or self.hub.venue, underlying)
        except Refused as refused:
            raise refusal_of(refused) from None
        return venue or self.hub.venue


def _is_of(view: View, stream: Stream) -> bool:
    picture = stream.picture
    return isinstance(picture, ChainPicture) and picture.picture is view.picture


def answer(
    request: Request,
    view: View,
    what: Hashable,
    whole: Make,
    table: Make | None = None,
    *,
    table_name: str = "",
    has_table: bool = True,
) -> Response:
    """The answer to `what` in the format that is asked for, or 304 where the client has it.

    `whole` makes it for formats that hold everything, `table` (by default the same) for those that hold one table,
    which has a `table_name` where there are several.
    """
    form = chosen(request, has_table=has_table)
    known = request.headers.get("if-none-match")
    make, name = (table, (what, "table", table_name)) if form.tabular and table is not None else (whole, what)
    if not is_known(known, view.tag):
        view.kept(name, make)
    found = view.answered(name, form, known)
    assert found is not None
    if "shortcuts" in request.scope:
        request.scope["shortcuts"].remember(request.scope, view, name, form)
    return found


def answer_of_records(
    request: Request,
    view: View,
    what: Hashable,
    head: Callable[[View], dict[str, Any]],
    name: str,
    records: Callable[[View], list[dict[str, Any]]],
) -> Response:
    """The answer whose one table is a list of records: under its `name` beside the head, or as columns."""
    return answer(
        request,
        view,
        what,
        lambda: Message(head(view) | {name: records(view)}),
        lambda: table_of(head(view), records(view)),
    )


def written(message: Message, form: formats.Format, headers: dict[str, str]) -> Response:
    """A message in a format; `Refusal` 501 where that is not installed."""
    return Response(message.encoded(form.encoding()), 200, headers, form.media_type)


def chosen(request: Request, *, has_table: bool = True) -> formats.Format:
    """The format that a request asks for."""
    return formats.chosen(request.query_params.get("format"), request.headers.get("accept"), has_table=has_table)


FRESH = {"cache-control": "no-store", "vary": "accept"}


def fresh(request: Request, message: Message, table: Make | None = None) -> Response:
    """An answer that was made for this one request, and that nobody keeps."""
    form = chosen(request)
    return written(table() if form.tabular and table is not None else message, form, FRESH)


def is_known(header: str | None, tag: str) -> bool:
    """Does If-None-Match name this tag? Weakly compared, as it must be (RFC 9110, 13.1.2).

    >>> is_known('"a-1.2", W/"b-1.3"', 'W/"b-1.3"'), is_known('"b-1.3"', 'W/"b-1.3"'), is_known(None, 'W/"b"')
    (True, True, False)
    """
    if header is None:
        return False
    names = {each.strip().removeprefix("W/") for each in header.split(",")}
    return "*" in names or tag.removeprefix("W/") in names
