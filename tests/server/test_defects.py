"""A step of the scheduler that fails in the middle: it is undone, what it was about is ended, and all else goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from inrush import wire
from inrush.core import cluster
from inrush.core.model import events
from inrush.server import loop as loop_module
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, ScalePolicy, Status

from .peers import Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(max_inputs=4))
Opened = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, Callable[[Any], bool]], None]:
    """Has the core fail after it has changed what such an event changes, where the event is one of those."""

    def fail(kind: type, where: Callable[[Any], bool]) -> None:
        handler = cluster.HANDLERS[kind]

        def failing(state: Any, event: Any) -> None:
            handler(state, event)
            if where(event):
                raise ValueError("a defect in the middle of a step")

        monkeypatch.setitem(cluster.HANDLERS, kind, failing)

    return fail


@pytest.fixture
async def echoing(server: Server) -> Agent:
    return Agent(server, lambda method, payload: payload)


async def test_a_call_whose_step_failed_is_refused_and_leaves_nothing_behind(
    server: Server, client: Client, echoing: Agent, fails: Any
) -> None:
    function = (await client.start_app(F))["functions"]["f"]
    client.send(wire.StartCall("ca-1", function, payloads=(b"P1",)))
    await client.results("ca-1", 1)
    fails(events.CallArrived, lambda event: event.call == "ca-bad")
    client.send(wire.StartCall("ca-bad", function, payloads=(b"P2",)))
    refused = await client.until(wire.CallRefused)
    assert (refused.call, refused.code) == ("ca-bad", "InternalError")
    core = server.loop.core
    assert "ca-bad" not in core.calls
    assert core.violations() == []
    client.send(wire.StartCall("ca-2", function, payloads=(b"P3",)))
    assert await client.results("ca-2", 1) == {0: (Status.OK, b"P3")}
    assert core.stats(function)["backlog"] == 0


async def test_what_a_container_ran_is_tried_elsewhere_where_its_result_could_not_be_taken(
    server: Server, client: Client, echoing: Agent, fails: Any
) -> None:
    function = (await client.start_app(F))["functions"]["f"]
    bad = ["first"]
    fails(events.AttemptsEnded, lambda event: bool(bad) and event.call == "ca-1" and bool(bad.pop()))
    client.send(wire.StartCall("ca-1", function, payloads=(b"P1",)))
    assert await client.results("ca-1", 1) == {0: (Status.OK, b"P1")}
    assert len({run.container for run in echoing.got(wire.Run)}) == 2
    assert server.loop.core.violations() == []


async def test_defects_that_follow_one_another_end_the_server_and_nothing_more_is_stepped(
    server: Server, client: Client, echoing: Agent, fails: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = (await client.start_app(F))["functions"]["f"]
    fails(events.CallArrived, lambda event: True)
    for number in range(loop_module.MAX_DEFECTS):
        client.send(wire.StartCall(f"ca-{number}", function, payloads=(b"P",)))
        await client.until(wire.CallRefused)
    assert not server.ending
    client.send(wire.StartCall("ca-last", function, payloads=(b"P",)))
    await server.wait_closed()
    assert "by a defect of inrush" in server.failed
    monkeypatch.setitem(cluster.HANDLERS, events.Tick, lambda state, event: pytest.fail("it was stepped"))
    server.loop.post(events.Tick())
    server.loop.turn()
