"""Environments: what belongs to one is out of another's reach."""

from __future__ import annotations

from inrush import wire
from inrush.server.serve import Server
from inrush.wire import AppSpec, FunctionSpec, ScalePolicy

from .peers import Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(min_containers=1))


async def test_a_node_is_told_the_environment_of_what_it_runs(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,))))
    await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,), environment="prod")))
    await client.wait(lambda: len(agent.containers) == 2)
    assert {(c.app, c.environment, c.app_key) for c in agent.containers.values()} == {
        ("app", "main", "app"),
        ("app", "prod", "prod/app"),
    }
    assert {order.app_key for order in agent.got(wire.Prepare)} == {"app", "prod/app"}
