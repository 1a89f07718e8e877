"""Calls, through the real server's unix socket, with a peer in place of the agent."""

from __future__ import annotations

from inrush import wire
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, ScalePolicy, Status

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
