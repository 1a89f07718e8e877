"""Calls, through the real server's unix socket, with a peer in place of the agent."""

from __future__ import annotations

import msgspec

from inrush import wire
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Retries, ScalePolicy, Status

from .peers import Agent, Client, failure


def double(method: str, payload: bytes) -> bytes:
    if payload == b"Pbad":
        raise ValueError("bad input")
    return payload + payload[1:]


F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(max_inputs=64))


async def test_a_remote_call_runs_from_zero_containers(server: Server, client: Client) -> None:
    agent = Agent(server, double)
    app = await client.start_app(F)
    client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"Pab",)))
    assert await client.results("ca-1", 1) == {0: (Status.OK, b"Pabab")}
    assert len(agent.containers) == 1


async def test_a_map_gives_every_result_once(server: Server, client: Client) -> None:
    Agent(server, double)
    app = await client.start_app(F)
    inputs = [b"P%d" % i for i in range(5000)]
    client.send(wire.StartCall("ca-m", app["functions"]["f"], "map", "", tuple(inputs[:256]), 0, -1))
    sent, got = 256, {}
    while sent < len(inputs):
        got |= await client.results("ca-m", 256) if len(got) + 256 <= sent else {}
        client.send(wire.Inputs("ca-m", sent, tuple(inputs[sent : sent + 256])))
        sent = min(sent + 256, len(inputs))
    client.send(wire.EndInputs("ca-m", len(inputs)))
    got |= await client.results("ca-m", len(inputs) - len(got))
    assert got == {i: (Status.OK, x + x[1:]) for i, x in enumerate(inputs)}


async def test_an_exception_of_user_code_reaches_the_caller(server: Server, client: Client) -> None:
    Agent(server, double)
    app = await client.start_app(F)
    client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"Pbad",)))
    status, payload = (await client.results("ca-1", 1))[0]
    assert status == Status.ERROR
    assert failure(payload)["message"] == "bad input"


async def test_a_call_of_an_unknown_function_is_refused(server: Server, client: Client) -> None:
    client.send(wire.StartCall("ca-1", "fn-nowhere", payloads=(b"P",)))
    refused = await client.until(wire.CallRefused)
    assert refused.code == "NotFoundError"


async def test_large_results_are_kept_until_their_client_has_them(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: b"P" * 1_000)
    function = (await client.start_app(F))["functions"]["f"]
    client.send(wire.StartCall("ca-m", function, "map", "", (b"P",) * 100, 0, 200))
    await client.results("ca-m", 100)
    call = server.calls.get("ca-m")
    assert call is not None
    kept = [index for message in call.kept for index in message.indexes]
    assert sorted(kept) == list(range(100))
    assert server.calls._held == 100 * 1_000
    client.send(wire.Received("ca-m", kept[-1]), wire.Inputs("ca-m", 100, (b"P",) * 100))
    await client.results("ca-m", 100)
    assert not {index for message in call.kept for index in message.indexes} & set(range(100))
    assert server.calls._held == server.calls._finished_held == 100 * 1_000
    client.send(wire.Received("ca-m", call.kept[-1].indexes[-1]))
    await client.ask(wire.HasBlobs(()))
    assert (server.calls._held, server.calls._finished_held, call.kept) == (0, 0, [])
    client.send(wire.Received("ca-m", 3), wire.Received("ca-unknown", 3))
    assert await client.ask(wire.HasBlobs(())) == []


async def test_retries_of_a_watched_call_are_told_to_who_waits_for_it(server: Server, client: Client) -> None:
    agent = Agent(server, double)
    agent.hold = True
    spec = msgspec.structs.replace(F, retries=Retries(1, initial_delay_s=0.0))
    function = (await client.start_app(spec, deploy=True))["functions"]["f"]
    spawned = wire.StartCall("ca-spawned", function, "spawn", payloads=(b"Pbad",), watched=True)
    quiet = wire.StartCall("ca-quiet", function, payloads=(b"Pbad",))
    client.send(spawned, quiet, wire.StartCall("ca-called", function, payloads=(b"Pbad",), watched=True))
    await client.until(wire.Accepted, lambda m: m.call == "ca-spawned")
    client.send(wire.AwaitCall("ca-spawned"))
    await client.ask(wire.FindFunction("app", "f"))  # what was sent before has been taken
    await client.wait(lambda: sum(len(run.payloads) for run in agent.held) == 3)
    agent.release()
    told = [await client.until(wire.Retried) for _ in range(2)]
    assert {(m.call, m.function, m.indexes) for m in told} == {("ca-spawned", "f", (0,)), ("ca-called", "f", (0,))}
    assert "retry 1 of 1" in told[0].why
    await client.results("ca-quiet", 1)
    assert not [m for m in client.messages if isinstance(m, wire.Retried)]
