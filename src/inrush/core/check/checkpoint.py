"""The whole state of a Cluster as plain data, from which another one goes on with the same decisions.

What the state holds is written as it is (`graphs`), but for a few things. What a function wants of a node follows from
its spec, and shares `seats` with the function. The index follows from the nodes, but for the order in which they stand
in it: that is written, and the index is made anew. The tuning is the code's own, so that two versions can be compared
by it. Effects that wait to be handed out, the one place where payloads are referred to, must not be there: a checkpoint
is taken between steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inrush.core.check import invariants
from inrush.core.model import graphs
from inrush.core.model.amounts import Amount
from inrush.core.model.calls import Attempt, Call, Tries
from inrush.core.model.containers import Container
from inrush.core.model.functions import Function, Trouble
from inrush.core.model.gaps import Gaps
from inrush.core.model.graphs import Plain
from inrush.core.model.measured import Decision, Measured, Memo
from inrush.core.model.nodes import Claim, Node
from inrush.core.model.pools import Pool, Trend
from inrush.core.model.ranges import Ranges
from inrush.core.model.rate import Rate
from inrush.core.model.shapes import shapes
from inrush.core.model.state import State, Timer
from inrush.core.model.trend import Line
from inrush.core.model.tuning import TUNING, Tuning
from inrush.core.model.wanted import Placement, wanted
from inrush.core.place.index import Index, Standing
from inrush.errors import InternalError, InvalidError
from inrush.wire import FunctionSpec, Inventory, ScalePolicy

CLASSES: tuple[type, ...] = (
    *(State, Function, Trouble, Call, Attempt, Container, Node, Pool, Ranges, Rate, Line, Gaps, Measured),
    *(Timer, Amount, Claim, Decision, Memo, Trend, Tries, Placement, Standing),
    *(FunctionSpec, ScalePolicy, Inventory),
)
"""All classes that a state is made of."""

UNWRITTEN: dict[type, dict[str, Callable[[], Any]]] = {
    State: {"tuning": lambda: TUNING, "quotas": dict, "index": Index, "out": list},
    Node: {"group": lambda: None},
    Measured: {"tuning": lambda: TUNING},
    Function: {"want": lambda: None},
}
"""Fields that are not written, and what each holds until `restore` has seen to it."""

SHAPES = shapes(CLASSES, UNWRITTEN)


def capture(state: State, values_max: int = 10**9) -> Plain | None:
    """The state as dicts, lists, texts, numbers and None; it shares nothing that may change with the state. Floats may
    be infinite, which msgpack can write and JSON cannot. None when it is of more than `values_max` values (a call or a
    container has some 40), at the cost of no more than so many.

    Raises `InternalError` when a step failed and left effects behind, or when something in the state has no shape.
    """
    if state.out:
        raise InternalError("a step failed: effects are left that were not handed out, and no checkpoint can hold them")
    of_calls, of_containers = len(SHAPES["Call"].fields), len(SHAPES["Container"].fields)
    if of_calls * len(state.calls) + of_containers * len(state.containers) > values_max:
        return None  # known at once
    root = {"state": state, "index": state.index.standing(), "quotas": dict(state.quotas)}
    return graphs.written(root, SHAPES, values_max)


def restore(plain: Plain, tuning: Tuning = TUNING) -> State:
    """The state that was captured, in this version's terms. Raises `InvalidError` when it is not one."""
    try:
        root = graphs.read(plain, SHAPES)
        state, standing = root["state"], root["index"]
        if not (isinstance(state, State) and isinstance(standing, Standing) and isinstance(root["quotas"], dict)):
            raise InvalidError("it has no state, index and quotas")
        state.tuning, state.quotas = tuning, root["quotas"]
        for function in state.functions.values():
            function.measured.tuning = tuning
            function.want = wanted(function.id, function.spec, function.seats)
        state.index = Index.again(standing, state.nodes.values())
        invariants.violations(state)  # which looks everywhere; what it finds may be what the journal was saved for
    except InvalidError as error:
        raise InvalidError(_MALFORMED.format(error)) from None
    except Exception as error:
        raise InvalidError(_MALFORMED.format(f"{type(error).__name__}: {error}")) from None
    return state


_MALFORMED = "the checkpoint cannot be read: {}; save the journal again, or read it with the version that recorded it"
