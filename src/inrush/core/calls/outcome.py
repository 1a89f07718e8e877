"""How attempts end, and what follows: a result for the owner, or another try."""

from __future__ import annotations

from typing import Any

from inrush.core.calls.lease import WARY_S, depth
from inrush.core.calls.retry import SUSPECT_AFTER, End, next_try
from inrush.core.containers.lifecycle import forget_if_gone, released, stop, waits
from inrush.core.model.calls import Call, Tries
from inrush.core.model.containers import Container
from inrush.core.model.effects import Resolve, Retried
from inrush.core.model.events import AttemptsEnded, InputsReturned
from inrush.core.model.functions import Function
from inrush.core.model.ranges import runs
from inrush.core.model.state import State
from inrush.wire import Status

_UNTRIED = Tries()


class _Columns:
    """Results of one call that share a `why`, in columns."""

    __slots__ = ("indexes", "refs", "statuses")

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.statuses: list[int] = []
        self.refs: list[Any] = []


def attempts_ended(state: State, event: AttemptsEnded) -> None:
    """Takes results from a container. Results of attempts that do not run there are passed over."""
    call, container = state.calls.get(event.call), state.containers.get(event.container)
    if container is not None and container.leader is not None:
        _follower_ended(state, container, container.leader, event)
        return
    if call is None or container is None:
        return
    mine, spent_s = _taken_back(call, container, event.indexes, state.now)
    if not mine:
        return
    alone, had_to_go = container.busy == 1, container.preempted or container.state == "stopping"
    if 0 <= event.spent_s < spent_s:
        spent_s = event.spent_s
    _free(state, call, container, len(mine), spent_s)
    if len(mine) == len(event.indexes) and not any(event.statuses):
        _settle_ok(state, call, event)
    else:
        ends = [(event.indexes[k], event.statuses[k], event.refs[k]) for k in mine]
        _settle(state, call, ends, End(Status.OK, alone, had_to_go), "")
    finish_if_done(state, call)


def _taken_back(call: Call, container: Container, indexes: tuple[int, ...], now: float) -> tuple[list[int], float]:
    """Takes attempts off what the container runs. Returns their positions in the event, and the seconds that they ran
    together."""
    running, mine, spent_s = call.running, [], 0.0
    for position, index in enumerate(indexes):
        attempt = running.get(index)
        if attempt is not None and attempt.container is container:
            del running[index]
            spent_s += now - attempt.at
            mine.append(position)
    return mine, spent_s


def _follower_ended(state: State, container: Container, leader: Container, event: AttemptsEnded) -> None:
    """Handles the end of an input in a cluster's follower, which counts only when it failed, because the leader would
    then wait for it."""
    container.echoes -= {(event.call, index) for index in event.indexes}
    call = state.calls.get(event.call)
    for index, status, ref in zip(
        event.indexes, event.statuses, event.refs or (None,) * len(event.indexes), strict=True
    ):
        attempt = call.running.get(index) if call is not None else None
        if status != Status.OK and attempt is not None and attempt.container is leader:
            attempts_ended(state, AttemptsEnded(leader.id, event.call, (index,), (status,), (ref,)))
            stop(state, leader, "an input failed in another container of its cluster", kill=True)
    if leader.id in state.containers and not leader.engaged:
        released(state, leader)


def inputs_returned(state: State, event: InputsReturned) -> None:
    """Queues leased inputs again that a container gave back without having begun them."""
    call, container = state.calls.get(event.call), state.containers.get(event.container)
    if container is not None and container.leader is not None:
        lost = (int(Status.LOST),) * len(event.indexes)
        _follower_ended(
            state, container, container.leader, AttemptsEnded(container.id, event.call, event.indexes, lost, ())
        )
        return
    if call is None or container is None:
        return
    running = call.running
    mine = [i for i in event.indexes if (attempt := running.get(i)) is not None and attempt.container is container]
    if not mine:
        return
    for index in mine:
        del running[index]
    _vacate(state, state.functions[container.function], call, container, len(mine))
    function = state.functions.get(call.function)
    if function is None or function.removed or call.state in ("cancelled", "forgotten"):
        resolve(state, call, mine, Status.CANCELLED, None, call.why or "its function is gone", ran=True)
    else:
        _come_back(function, call, mine)
        state.touch(function, poke=True)
    finish_if_done(state, call)


def died(state: State, container: Container, status: int, ref: Any, why: str) -> None:
    """Ends every attempt in a container that has ended."""
    if container.busy > 1 and status in (Status.CRASHED, Status.OUT_OF_MEMORY):
        _be_wary(state, state.functions[container.function])
    like = End(status, container.busy == 1, container.preempted)
    for call_id in container.calls:
        call = state.calls[call_id]
        indexes = sorted(index for index, attempt in call.running.items() if attempt.container is container)
        for index in indexes:
            del call.running[index]
        _settle(state, call, [(index, status, ref) for index in indexes], like, why)
        finish_if_done(state, call)


def _be_wary(state: State, function: Function) -> None:
    """Leases nothing for a while after a crash with several inputs, so that the next crash shows which one caused
    it."""
    function.wary_until, function.lease = state.now + WARY_S, 0
    for container in list(function.below_lease.values()):
        function.shelve(container)


def fail_waiting(state: State, function: Function, status: int, ref: Any, why: str) -> None:
    """Ends everything that waits for a function which cannot start."""
    for call in list(function.calls.values()):
        indexes = function.withdraw(call)
        resolve(state, call, indexes, status, ref, why)
        finish_if_done(state, call)


def resolve(state: State, call: Call, indexes: list[int], status: int, ref: Any, why: str, ran: bool = False) -> None:
    """Ends inputs for good, all alike. The caller has taken them out of the queue, or out of what `ran`."""
    if not indexes:
        return
    call.done += len(indexes)
    for index in indexes:
        call.tries.pop(index, None)
    if call.state != "forgotten" and not (ran and call.told):
        count = len(indexes)
        state.out.append(Resolve(call.id, tuple(indexes), (int(status),) * count, (ref,) * count, why))


def tell_cancelled(state: State, call: Call) -> None:
    """Tells the owner of a cancelled call that what runs is cancelled, however long containers take to let go of it."""
    if call.running and not call.told and call.state != "forgotten":
        indexes = tuple(sorted(call.running))
        count = len(indexes)
        state.out.append(Resolve(call.id, indexes, (int(Status.CANCELLED),) * count, (None,) * count, call.why))
    call.told = True


def finish_if_done(state: State, call: Call) -> None:
    """Drops a call from memory when every input has its result, or when it is forgotten and runs nowhere."""
    over = call.done == call.total if call.state != "forgotten" else not call.running
    if not over or call.state == "done":
        return
    call.turn("finish")
    del state.calls[call.id]
    if call.caller:
        waits(state, call.caller, -1)
    function = state.functions.get(call.function)
    if function is not None:
        function.calls.pop(call.id, None)
        if function.removed:
            forget_if_gone(state, function)


def retry_due(state: State, call_id: str, index: int) -> None:
    """Queues an input whose retry delay has passed."""
    call = state.calls.get(call_id)
    if call is None or call.delayed.get(index, state.now + 1) > state.now:
        return
    del call.delayed[index]
    function = state.functions[call.function]
    function.delayed -= 1
    _come_back(function, call, [index])
    state.touch(function, poke=True)


def _come_back(function: Function, call: Call, indexes: list[int]) -> None:
    """Queues inputs for another try: suspects to run alone, the others at the head of the queue."""
    suspects = {index for index in indexes if call.tries.get(index, _UNTRIED).crashes >= SUSPECT_AFTER}
    for index in sorted(suspects):
        function.suspect(call, index)
    for span in reversed(runs(index for index in sorted(indexes) if index not in suspects)):
        function.requeue(call, span)


def _free(state: State, call: Call, container: Container, count: int, spent_s: float) -> None:
    """Gives slots back, and learns from how long they were used."""
    function, now = state.functions[container.function], state.now
    function.measured.served(spent_s / count, count, now)
    function.lease = depth(function, now)
    container.served += count
    if container.recalled or container.id in function.leasing:
        function.measured.paused(now - container.progress_at - spent_s)
    container.progress_at, container.recalled = now, False
    _vacate(state, function, call, container, count)


def _vacate(state: State, function: Function, call: Call, container: Container, count: int) -> None:
    """Takes inputs of a call off what a container runs."""
    function.occupy(container, -count)
    left = container.calls[call.id] - count
    if left:
        container.calls[call.id] = left
    else:
        del container.calls[call.id]
    released(state, container)


def _settle_ok(state: State, call: Call, event: AttemptsEnded) -> None:
    call.done += len(event.indexes)
    if call.tries:
        for index in event.indexes:
            call.tries.pop(index, None)
    if call.state != "forgotten" and not call.told:
        state.out.append(Resolve(call.id, event.indexes, event.statuses, event.refs))


def _settle(state: State, call: Call, ends: list[tuple[int, int, Any]], like: End, why: str) -> None:
    """Resolves each input, or has it tried again now or later."""
    function = state.functions.get(call.function)
    final: dict[str, _Columns] = {}
    again: list[int] = []
    retried: dict[str, list[int]] = {}
    for index, status, ref in ends:
        verdict_why = _again(state, call, function, index, like._replace(status=status), again, retried)
        if verdict_why is None:
            continue
        if status != Status.OK and call.state == "cancelled":
            text = call.why
        else:
            text = "; ".join(filter(None, [why, verdict_why]))
        columns = final.setdefault(text, _Columns())
        columns.indexes.append(index)
        columns.statuses.append(_told(call, status))
        columns.refs.append(ref)
    if function is not None and again:
        _come_back(function, call, again)
        state.touch(function, poke=True)
    state.out.extend(Retried(call.id, call.function, tuple(indexes), why) for why, indexes in retried.items())
    _tell(state, call, final)


def _again(
    state: State,
    call: Call,
    function: Function | None,
    index: int,
    end: End,
    again: list[int],
    retried: dict[str, list[int]],
) -> str | None:
    """None when the input is tried again, now (it is added to `again`) or later; else the reason why it is not.
    `retried` has the inputs of either kind by their reason."""
    if end.status == Status.OK or call.state in ("cancelled", "forgotten"):
        return ""
    if function is None or function.removed:
        return function.removed if function is not None else "its function is gone"
    verdict = next_try(function.spec.retries, call.kind, call.tries.get(index, _UNTRIED), end)
    if verdict.delay_s is None:
        return verdict.why
    call.tries[index] = verdict.tries
    retried.setdefault(verdict.why, []).append(index)
    if verdict.delay_s <= 0:
        again.append(index)
        return None
    due = state.now + verdict.delay_s
    call.delayed[index] = due
    function.delayed += 1
    state.timer(due, "retry", call.id, index)
    return None


def _told(call: Call, status: int) -> int:
    """The status that the owner of a cancelled call is told for an input that did not end by itself."""
    own = (Status.OK, Status.ERROR, Status.TIMEOUT)
    return int(Status.CANCELLED) if call.state == "cancelled" and status not in own else int(status)


def _tell(state: State, call: Call, final: dict[str, _Columns]) -> None:
    for why, columns in final.items():
        call.done += len(columns.indexes)
        for index in columns.indexes:
            call.tries.pop(index, None)
        if call.state != "forgotten" and not call.told:
            state.out.append(
                Resolve(call.id, tuple(columns.indexes), tuple(columns.statuses), tuple(columns.refs), why)
            )
