"""One durable call in memory: who waits for it, and what of it is not saved yet."""

from __future__ import annotations

from typing import Any

from inrush.core.model.ranges import Ranges, runs
from inrush.server.calls.call import Call, Owner, split_results
from inrush.server.calls.saved import Columns
from inrush.server.rows.store import Operation

WHOSE = ("environment", "app", "caller")
"""The columns that say whose a call is. A saved call never becomes another's, even if its id is used again."""


class Live:
    """A durable call in memory: who waits, for which inputs, and what is not yet committed. `saved` inputs are."""

    __slots__ = ("accepting", "call", "created", "ended", "joined", "saved", "start", "stored", "unsaved", "waiters")

    def __init__(self, call: Call, created: float, saved: int = 0) -> None:
        self.call = call
        self.created = created
        self.saved = saved
        self.start: Operation | None = None
        """The write that saves the call itself; None once it is committed."""
        self.joined: list[Columns] = []
        """Results that `start` saves too."""
        self.ended = False
        """Whether its end is saved, or will be with its last results."""
        self.stored = call.settled
        """The number of results that are committed, which later waiters read from the store."""
        self.accepting: list[Owner] = []
        self.waiters: dict[Owner, Ranges] = {}
        """Who waits, each with the inputs whose results it wants and has not been sent."""
        self.unsaved = 0

    @property
    def whole(self) -> bool:
        """Whether all of its inputs are committed, so that it is acknowledged."""
        return 0 <= self.call.total <= self.saved

    def row(self, ended: float) -> tuple[Any, ...]:
        """Its row in `tables.calls`."""
        call = self.call
        return (call.id, call.function.id, call.kind, call.method, call.total, self.created, ended, *self.whose())

    def whose(self) -> tuple[str, str, str]:
        """The columns `WHOSE` of that row."""
        function = self.call.function
        return function.environment, function.app_name, self.call.caller

    def tell(self, columns: Columns) -> None:
        """Sends results that are saved to everybody who waits for some of them."""
        for owner, wanted in self.waiters.items():
            send_wanted(owner, self.call.id, columns, wanted)


def send_wanted(owner: Owner, id: str, columns: Columns, wanted: Ranges) -> None:
    """Sends the results that are wanted, which then are wanted no more. So one that is saved while saved results are
    read for the owner, and is both told and read, is sent once."""
    at = [k for k, index in enumerate(columns[0]) if index in wanted]
    if len(at) < len(columns[0]):
        columns = (
            tuple([columns[0][k] for k in at]),
            tuple([columns[1][k] for k in at]),
            tuple([columns[2][k] for k in at]),
        )
    if at:
        for run in runs(sorted(columns[0])):
            wanted.remove(run.start, run.stop)
        for message in split_results(id, *columns):
            owner.send(message)
