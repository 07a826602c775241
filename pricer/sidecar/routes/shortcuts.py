"""The same question again: answered without looking up its path, its parameters and its format anew.

Only while the picture that the last answer was made of is still the newest; else the question goes its usual way, which
leaves the next shortcut. Nothing is kept alive by it, and no more questions are remembered than MOST.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import Scope

from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.formats import Format

if TYPE_CHECKING:
    from pricer.sidecar.routes.views import View

MOST = 512
MOST_LETTERS = 512  # of a question: longer ones are no poll

Asked = tuple[str, bytes, str | None]


class Shortcut(NamedTuple):
    """Where the answer lies."""

    view: ref[View]
    what: Hashable
    form: Format


class Shortcuts:
    """By path, query and Accept, word for word."""

    def __init__(self) -> None:
        self.taken = 0
        self._known: OrderedDict[Asked, Shortcut] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def remember(self, scope: Scope, view: View, what: Hashable, form: Format) -> None:
        """The way to an answer that has just been given."""
        asked = _asked(scope, Headers(scope=scope))
        if sum(len(part or "") for part in asked) <= MOST_LETTERS:
            self._known[asked] = Shortcut(ref(view), what, form)
            if len(self._known) > MOST:
                self._known.popitem(last=False)

    def answer(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer, if it is known and the newest; None where the question is to go its usual way."""
        asked = _asked(scope, headers)
        found = self._known.get(asked)
        view = None if found is None else found.view()
        if found is None or view is None or not _is_newest(view):
            self._known.pop(asked, None)
            return None
        self.taken += 1
        return view.answered(found.what, found.form, headers.get("if-none-match"))


def _is_newest(view: View) -> bool:
    """Where its stream is gone and there is no room for another, the question goes its usual way, and is told so."""
    try:
        return view.is_newest()
    except Refusal:
        return False


def _asked(scope: Scope, headers: Headers) -> Asked:
    return scope["path"], scope["query_string"], headers.get("accept")
