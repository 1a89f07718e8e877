"""Data that is sent to a container and not yet taken by its app is bounded, and no container can use others' share."""

from __future__ import annotations

import asyncio

from inrush import wire
from inrush.server.gateway import inflow
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, ScalePolicy, Web
from server.conftest import client, home, opened, server
from server.peers import Agent, Client

from .test_http_port import Caller, get

__all__ = ["client", "home", "opened", "server"]  # fixtures


def spec(slots: int) -> FunctionSpec:
    scale = ScalePolicy(max_inputs=slots)
    return FunctionSpec(name="f", module="m", qualname="f", scale=scale, web=(("", Web(kind="asgi")),))


def test_the_windows_of_a_container_have_a_bound() -> None:
    for slots in (1, 10, 64, 100, 1000):
        assert inflow.LEAST_BYTES <= inflow.window(slots) <= inflow.WINDOW_BYTES
        assert slots * inflow.window(slots) <= max(inflow.CONTAINER_BYTES, slots * inflow.LEAST_BYTES)


async def test_what_is_fed_and_not_taken_stays_within_the_window(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    fed: dict[str, int] = {}

    def feed(message: wire.Feed) -> list[object]:
        fed[message.call] = fed.get(message.call, 0) + len(message.data)
        return []

    agent.on[wire.Feed], agent.on[wire.Run] = feed, lambda run: []
    await client.start_app(spec(slots=100), deploy=True)
    caller = await Caller(server).open()
    caller.send(b"POST /w/app-f/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n\r\n")
    await client.wait(lambda: agent.got(wire.Run) or caller.send(bytes(10_000)))
    run = agent.got(wire.Run)[0]
    window = inflow.window(100)
    for _ in range(100):
        caller.send(bytes(100_000))
        await asyncio.sleep(0)
    await client.wait(lambda: fed.get(run.call, 0) > window - 2 * inflow.PIECE_BYTES)
    assert fed[run.call] <= window
    agent.say(wire.Took(run.container, run.call, 300_000))
    await client.wait(lambda: fed[run.call] > window)
    assert fed[run.call] <= window + 300_000
    caller.abandon()


async def test_a_container_can_open_only_its_own_windows(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.Run] = lambda run: []
    await client.start_app(spec(slots=1), deploy=True)
    caller = await Caller(server).open()
    caller.send(get("/w/app-f/"))
    await client.wait(lambda: agent.got(wire.Run))
    run = agent.got(wire.Run)[0]
    exchange = next(iter(server.gateway._exchanges))
    await exchange._inflow.room(1000)
    waiting = exchange._inflow._waiting
    agent.say(wire.Took("co-other", run.call, 500), wire.Took(run.container, "ca-other", 500))
    assert exchange._inflow._waiting == waiting
    agent.say(wire.Took(run.container, run.call, 2**60))
    assert exchange._inflow._waiting == 0
    caller.abandon()
