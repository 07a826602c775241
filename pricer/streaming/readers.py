"""Who reads a stream's snapshots, on whatever thread."""

from __future__ import annotations

import threading

from pricer.errors import VolstreamError
from pricer.mailbox import Mailbox
from pricer.snapshot import Snapshot


class Readers:
    """A mailbox for each reader, the newest snapshot for those who come late, and the end for all of them."""

    def __init__(self) -> None:
        self.latest: Snapshot | None = None
        self.failure: VolstreamError | None = None
        self._over = False
        self._mailboxes: set[Mailbox] = set()
        self._lock = threading.Lock()

    def subscribe(self) -> Mailbox:
        """A mailbox for one more reader; it starts with the newest snapshot."""
        mailbox = Mailbox(self._forget)
        with self._lock:  # under the lock no newer snapshot can come before this one
            if self.latest is not None:
                mailbox.put(self.latest)
            self._mailboxes.add(mailbox)
            over = self._over
        if over:
            mailbox.close(self.failure)
        return mailbox

    def publish(self, snapshot: Snapshot) -> None:
        """Put it before every reader."""
        with self._lock:
            self.latest = snapshot
            mailboxes = tuple(self._mailboxes)
        for mailbox in mailboxes:
            mailbox.put(snapshot)

    def end(self, failure: VolstreamError | None) -> None:
        """No snapshot follows: every reader, present and future, hears so. The first call decides why."""
        with self._lock:
            if not self._over:
                self._over, self.failure = True, failure
            mailboxes = tuple(self._mailboxes)
        for mailbox in mailboxes:
            mailbox.close(self.failure)

    def _forget(self, mailbox: Mailbox) -> None:
        with self._lock:
            self._mailboxes.discard(mailbox)
