"""Berths made ahead for the containers of one template: groups, namespaces, network and root, and in them a process,
forked from the template, that waits for its container.

How many are kept follows how many were started since there last were enough: the second burst of a function finds as
many as the first one needed, while single starts find a few. They are made when the launcher has nothing else to
do, and let go by halves when nobody starts any more. Which function's they are is seen from its starts: same layers,
same binds, same limits, same network.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from inrush.launcher.children import Child
from inrush.launcher.machine import Held
from inrush.launcher.overlay import resolver_stamp
from inrush.launcher.specs import ForkSpec, Limits, RootSpec

MAX_READY = min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 32)
"""Kept by a launcher; each holds seven descriptors, and `CHILD_MIB` of memory."""
CHILD_MIB = 4
_FEWEST, _KINDS, _MAKING = 2, 8, 2
_IDLE_S = 60.0


@dataclass(slots=True, eq=False)
class Berth:
    """Ready for a container: what it will hold, and the process that it will be."""

    held: Held
    child: Child


Done = Callable[[Berth | None], None]
"""Gets a berth, or None where it could not be made."""

Kind = tuple[RootSpec, Limits, str, tuple[int, ...]]
"""Root, limits, network, and when the resolvers, whose names are written into it, were changed last."""


@dataclass(slots=True)
class Stock:
    """Those of one kind, and how many are wanted of it."""

    ready: deque[Berth] = field(default_factory=deque)
    making: int = 0
    wanted: int = _FEWEST
    started: int = 0
    """Containers, since as many were ready as were wanted."""
    used: float = 0.0

    def note(self) -> None:
        """One is started."""
        self.started += 1
        self.used = time.monotonic()
        self.wanted = min(MAX_READY, max(_FEWEST, self.wanted, self.started))

    def put(self, made: Berth) -> None:
        """One more is ready."""
        self.ready.append(made)
        if len(self.ready) >= self.wanted:
            self.started = 0

    def want(self, number: int) -> None:
        """So many from now on, whatever was started."""
        self.wanted, self.started = number, 0


class Berths:
    """`make(root spec, limits, network, done)` begins to make one; `let_go` takes one back that is not wanted."""

    def __init__(
        self,
        make: Callable[[RootSpec, Limits, str, Done], None],
        let_go: Callable[[Berth], None],
    ) -> None:
        self._make = make
        self._let_go = let_go
        self._stocks: OrderedDict[Kind, Stock] = OrderedDict()
        self._open = True

    def take(self, spec: ForkSpec) -> Berth | None:
        """One for this container, if one is ready; either way it is noted that one was wanted."""
        if spec.root.upper or spec.devices or not self._open:
            return None
        kind = (replace(spec.root, hostname=""), spec.limits, spec.network, resolver_stamp())
        stock = self._stocks.setdefault(kind, Stock())
        self._stocks.move_to_end(kind)
        if len(self._stocks) > _KINDS:
            self._drop(next(iter(self._stocks)))
        stock.note()
        while stock.ready:
            berth = stock.ready.popleft()
            if not berth.child.ended:  # of which the launcher hears in a moment
                return berth
        return None

    @property
    def made(self) -> int:
        """Those that are ready, or are being made."""
        return sum(len(stock.ready) + stock.making for stock in self._stocks.values())

    def refill(self, quiet: bool) -> bool:
        """Begin to make one more, where there are too few; whether one was begun. Between starts that follow one
        another closely (not `quiet`) no more than a few: what makes many would be in the way of a burst.
        """
        for kind, stock in reversed(self._stocks.items()):
            wanted = stock.wanted if quiet else min(stock.wanted, _FEWEST)
            if stock.making < _MAKING and len(stock.ready) + stock.making < wanted:
                stock.making += 1
                self._begin(kind, stock)
                return True
        return False

    def _begin(self, kind: Kind, stock: Stock) -> None:
        def done(made: Berth | None) -> None:
            stock.making -= 1
            if made is None:
                stock.want(0)  # until the next start of the kind
            elif self._stocks.get(kind) is stock:
                stock.put(made)
            else:
                self._let_go(made)

        try:
            self._make(*kind[:3], done)
        except OSError as error:
            sys.stderr.write(f"inrush: no berth could be made ahead: {error}\n")
            done(None)

    def shrink(self) -> bool:
        """Let one go that is not wanted any more; whether there may be more."""
        now = time.monotonic()
        for kind, stock in list(self._stocks.items()):
            if now - stock.used > _IDLE_S:
                stock.used = now
                stock.want(stock.wanted // 2)
            if len(stock.ready) > stock.wanted:
                self._let_go(stock.ready.pop())
                return True
            if not stock.wanted and not stock.making:
                del self._stocks[kind]
        return False

    def lost(self, berth: Berth) -> None:
        """One is not ready any more; more are made from the next start of its kind on."""
        for stock in self._stocks.values():
            if berth in stock.ready:
                stock.ready.remove(berth)
                stock.want(0)

    def forget(self, below: str) -> None:
        """Let go of those with layers at or below a path, which is about to be removed."""
        for kind in list(self._stocks):
            if any(Path(layer).is_relative_to(below) for layer in kind[0].layers):
                self._drop(kind)

    def close(self) -> None:
        """Let all go, and take in no more."""
        self._open = False
        for kind in list(self._stocks):
            self._drop(kind)

    def _drop(self, kind: Kind) -> None:
        for berth in self._stocks.pop(kind).ready:
            with contextlib.suppress(OSError):
                self._let_go(berth)
