"""What a program that is not ours may declare: no number reaches the scheduler, which all share, that is none, negative
or without bound; and no name that could not be shown."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec
import pytest

from inrush import wire
from inrush.server.serve import Server
from inrush.wire import AppSpec, FunctionSpec, GpuRequest, Resources, Retries, ScalePolicy
from server.conftest import client, home, opened, server
from server.peers import Agent, Client
from server.test_tokens import Far, token

__all__ = ["client", "home", "opened", "server"]  # fixtures

F = FunctionSpec(name="f", module="m", qualname="f")


def numbers(kind: type) -> list[tuple[str, bool]]:
    """Fields of a struct that hold a number, and whether it may be a fraction."""
    return [
        (field.name, "float" in str(field.type)) for field in msgspec.structs.fields(kind) if is_number(str(field.type))
    ]


def is_number(kind: str) -> bool:
    return any(word in kind for word in ("int", "float")) and "tuple" not in kind


PARTS = {ScalePolicy: "scale", Retries: "retries", Resources: "resources", FunctionSpec: "", GpuRequest: "gpu"}
ODD = [
    (part, name, value)
    for part in PARTS
    for name, fraction in numbers(part)
    for value in ([math.nan, math.inf, -1.0] if fraction else [-(2**60), 2**60])
]


def spec_with(part: type, name: str, value: Any) -> FunctionSpec:
    if part is FunctionSpec:
        return msgspec.structs.replace(F, **{name: value})
    if part is GpuRequest:
        gpu = (GpuRequest(type="A10G", **{name: value}),)
        return msgspec.structs.replace(F, resources=Resources(gpu=gpu))
    return msgspec.structs.replace(F, **{PARTS[part]: part(**{name: value})})


def test_every_part_of_a_spec_has_numbers() -> None:
    assert {part for part, _, _ in ODD} == set(PARTS)
    assert len(ODD) > 50


@pytest.mark.parametrize(("part", "name", "value"), ODD, ids=lambda given: getattr(given, "__name__", str(given)))
def test_a_number_that_is_none_is_in_no_spec(part: type, name: str, value: Any) -> None:
    frame = wire.encode([wire.Ask(1, wire.StartApp(AppSpec(name="app", functions=(spec_with(part, name, value),))))])
    with pytest.raises(wire.UNREADABLE):
        wire.from_client_decoder.decode(frame)


def test_nor_in_an_override_of_a_scale() -> None:
    for name, fraction in numbers(wire.OverrideScale):
        frame = wire.encode([wire.Ask(1, wire.OverrideScale("fn-1", **{name: math.nan if fraction else -1}))])
        with pytest.raises(wire.UNREADABLE):
            wire.from_client_decoder.decode(frame)


async def test_who_sends_one_is_cut_off_and_others_are_served(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    async with Far(server, await token(server, "deploy", "call")) as far:
        await far.send(wire.Ask(1, wire.StartApp(AppSpec(name="app", functions=(spec_with(ScalePolicy, *NAN),)), True)))
        async with asyncio.timeout(20):
            await far._socket.wait_closed()
    app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,)), True))
    client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P1",)))
    await client.results("ca-1", 1)
    assert agent.containers


NAN = ("scaledown_window_s", math.nan)


@pytest.mark.parametrize(
    "spec",
    [
        msgspec.structs.replace(F, name="a\x1b[2Jb"),
        msgspec.structs.replace(F, name="a\nb"),
        msgspec.structs.replace(F, name=""),
        msgspec.structs.replace(F, methods=("a\u202eb",)),
        msgspec.structs.replace(F, env=(("A", "b\0c"),)),
        msgspec.structs.replace(F, env=(("A=B", "c"),)),
        msgspec.structs.replace(F, env=(("", "c"),)),
    ],
    ids=range(7),
)
async def test_a_name_that_cannot_be_shown_and_a_variable_that_cannot_be_are_refused(
    server: Server, client: Client, spec: FunctionSpec
) -> None:
    refused = await client.ask(wire.StartApp(AppSpec(name="app", functions=(spec,))))
    assert isinstance(refused, wire.Refused)
    assert refused.code == "InvalidError"
