"""A pool of berths made ahead for the containers of one template: control groups, namespaces, network and root, and in
each a process, forked from the template, that waits for its container.

The size of the pool follows demand: it is the number of starts since the pool was last full. So the second burst of a
function finds as many berths as the first one needed, while single starts find a few. Berths are made when the launcher
is idle; when no container starts for a minute the pool is halved. A start can use a berth that was made for the same
layers, binds, limits and network.
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

from inrush.launcher import kept
from inrush.launcher.children import Child
from inrush.launcher.machine import Held
from inrush.launcher.overlay import resolver_stamp
from inrush.launcher.specs import ForkSpec, Limits, RootSpec

MAX_READY = min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 32)
"""The most berths that a launcher keeps ready; each holds seven descriptors, and `CHILD_MIB` of memory."""
CHILD_MIB = 4
_FEWEST, _KINDS, _MAKING = 2, 8, 2
_IDLE_S = 60.0


@dataclass(slots=True, eq=False)
class Berth:
    """A berth made ahead: what its container will hold, and the process that will become the container."""

    held: Held
    child: Child


Done = Callable[[Berth | None], None]
"""Called with a berth, or with None if it could not be made."""

Kind = tuple[RootSpec, Limits, str, tuple[int, ...]]
"""The kind of a berth: its root, limits, network, and the time stamps of the resolver files that its root contains."""


@dataclass(slots=True)
class Stock:
    """The berths of one kind, and how many of them to keep. `forget` ends that the kind counts as an order kept."""

    forget: Callable[[], None]
    ready: deque[Berth] = field(default_factory=deque)
    making: int = 0
    wanted: int = _FEWEST
    started: int = 0
    """Containers started since as many berths were ready as were wanted."""
    used: float = 0.0

    def note(self) -> None:
        """Notes that a container of this kind starts."""
        self.started += 1
        self.used = time.monotonic()
        self.wanted = min(MAX_READY, max(_FEWEST, self.wanted, self.started))

    def put(self, made: Berth) -> None:
        """Adds a berth that has been made."""
        self.ready.append(made)
        if len(self.ready) >= self.wanted:
            self.started = 0

    def want(self, number: int) -> None:
        """Sets how many to keep, and forgets the starts so far."""
        self.wanted, self.started = number, 0


class Berths:
    """The pool. `make(root spec, limits, network, done)` begins to make a berth; `let_go` frees one. `orders` counts
    the kinds, which outlive the orders that they come from."""

    def __init__(
        self,
        make: Callable[[RootSpec, Limits, str, Done], None],
        let_go: Callable[[Berth], None],
        orders: kept.Kept,
    ) -> None:
        self._make = make
        self._orders = orders
        self._let_go = let_go
        self._stocks: OrderedDict[Kind, Stock] = OrderedDict()
        self._open = True

    def take(self, spec: ForkSpec) -> Berth | None:
        """Takes a ready berth for this container, or returns None. Either way the demand is noted."""
        if spec.root.upper or spec.devices or not self._open:
            return None
        kind = (replace(spec.root, hostname=""), spec.limits, spec.network, resolver_stamp())
        stock = self._stock(kind)
        if stock is None:
            return None
        self._stocks.move_to_end(kind)
        if len(self._stocks) > _KINDS:
            self._drop(next(iter(self._stocks)))
        stock.note()
        while stock.ready:
            berth = stock.ready.popleft()
            if not berth.child.ended:  # one that has ended is freed when its end is reported
                return berth
        return None

    def _stock(self, kind: Kind) -> Stock | None:
        """The berths of a kind; None for a new kind if the launcher can keep no more of them."""
        if (stock := self._stocks.get(kind)) is None:
            root = kind[0]
            texts = [*root.layers, *(text for bind in root.binds for text in (bind.src, bind.dst))]
            with contextlib.suppress(kept.Full):
                self._stocks[kind] = stock = Stock(self._orders.take(kept.of_texts(texts)))
        return stock

    @property
    def made(self) -> int:
        """The number of berths that are ready or are being made."""
        return sum(len(stock.ready) + stock.making for stock in self._stocks.values())

    def refill(self, quiet: bool) -> bool:
        """Begins to make one more berth if there are too few. Returns whether it did. During a burst of starts (not
        `quiet`) it makes only a few, since making many would slow the burst."""
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
                stock.want(0)  # make no more until the next start of the kind
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
        """Frees one berth that is not needed any more. Returns whether there may be more."""
        now = time.monotonic()
        for kind, stock in list(self._stocks.items()):
            if now - stock.used > _IDLE_S:
                stock.used = now
                stock.want(stock.wanted // 2)
            if len(stock.ready) > stock.wanted:
                self._let_go(stock.ready.pop())
                return True
            if not stock.wanted and not stock.making:
                self._drop(kind)
        return False

    def lost(self, berth: Berth) -> None:
        """Removes a berth whose process has ended. No more of its kind are made until the next start."""
        for stock in self._stocks.values():
            if berth in stock.ready:
                stock.ready.remove(berth)
                stock.want(0)

    def forget(self, below: str) -> None:
        """Frees the berths with layers at or below a path that is about to be removed."""
        for kind in list(self._stocks):
            if any(Path(layer).is_relative_to(below) for layer in kind[0].layers):
                self._drop(kind)

    def close(self) -> None:
        """Frees all berths, and makes no more."""
        self._open = False
        for kind in list(self._stocks):
            self._drop(kind)

    def _drop(self, kind: Kind) -> None:
        stock = self._stocks.pop(kind)
        stock.forget()
        for berth in stock.ready:
            with contextlib.suppress(OSError):
                self._let_go(berth)
