"""The asks that user code in a container may make of the server, and those that are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from inrush import wire
from inrush.server.serve import Server
from inrush.server.trust.principal import OWNER, Scope
from inrush.wire import FunctionSpec, ScalePolicy, Status

from .peers import Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(min_containers=1))
G = FunctionSpec(name="g", module="m", qualname="g", scale=ScalePolicy(max_inputs=8))

OWN = Scope(OWNER, "main")


class Guest:
    """The SDK in the first container of an app's function."""

    def __init__(self, agent: Agent, client: Client, container: str) -> None:
        self._agent, self._client, self.container = agent, client, container
        self._rid = 0

    def send(self, *messages: Any) -> None:
        self._agent.say(wire.FromGuestLink(self.container, wire.encode(list(messages))))

    def messages(self) -> list[Any]:
        frames = [m for m in self._agent.got(wire.ToGuestLink) if m.container == self.container]
        return [message for frame in frames for message in wire.to_client_decoder.decode(frame.frame)]

    async def until(self, kind: type) -> Any:
        return await self._client.wait(lambda: next((m for m in self.messages() if isinstance(m, kind)), None))

    async def ask(self, body: Any) -> Any:
        self._rid += 1
        rid = self._rid
        self.send(wire.Ask(rid, body))
        kinds = (wire.Answer, wire.Refused)
        found = await self._client.wait(
            lambda: next((m for m in self.messages() if isinstance(m, kinds) and m.rid == rid), None)
        )
        return found.result if isinstance(found, wire.Answer) else found


async def guest_of(server: Server, client: Client, f: FunctionSpec = F) -> Guest:
    agent = Agent(server, lambda method, payload: payload + b"!")
    app = await client.start_app(f, G)
    await client.wait(lambda: agent.containers)
    container = next(c for c, start in agent.containers.items() if start.function == app["functions"]["f"])
    return Guest(agent, client, container)


async def test_user_code_calls_functions_of_its_own_app_without_a_token(server: Server, client: Client) -> None:
    guest = await guest_of(server, client)
    guest.send(wire.Hello("cl-guest"))
    await guest.until(wire.Welcome)
    found = await guest.ask(wire.FindFunction("app", "g"))
    guest.send(wire.StartCall("ca-inner", found["function"], payloads=(b"P1",)))
    assert (await guest.until(wire.Results)).payloads == (b"P1!",)
    assert await guest.ask(wire.OpenDict("d", create=True))


@pytest.mark.parametrize(
    "body",
    [
        wire.StartApp(wire.AppSpec(name="app")),
        wire.StopApp("app"),
        wire.BuildImage(wire.Recipe(), "app"),
        wire.PutSecret((("K", "v"),)),
        wire.FindSecret("s"),
        wire.FollowLogs("app"),
        wire.OverrideScale("fn-x"),
        wire.GetBlob("sha256-" + "0" * 64),
    ],
)
async def test_user_code_may_not_do_what_is_its_owners(server: Server, client: Client, body: Any) -> None:
    guest = await guest_of(server, client)
    assert (await guest.ask(body)).code == "PermissionDeniedError"


async def test_a_function_without_access_may_not_even_call(server: Server, client: Client) -> None:
    guest = await guest_of(server, client, msgspec.structs.replace(F, restrict_access=True))
    assert (await guest.ask(wire.OpenDict("d", create=True))).code == "PermissionDeniedError"
    guest.send(wire.StartCall("ca-1", "fn-any", payloads=(b"P",)))
    assert (await guest.until(wire.CallRefused)).code == "PermissionDeniedError"


async def test_calls_of_a_container_that_dies_are_cancelled(server: Server, client: Client) -> None:
    guest = await guest_of(server, client)
    agent = guest._agent
    agent.hold = True
    found = await guest.ask(wire.FindFunction("app", "g"))
    guest.send(wire.StartCall("ca-inner", found["function"], payloads=(b"P1",)))
    await client.wait(lambda: agent.held)
    agent.say(wire.ContainerEnded(guest.container, Status.CRASHED, "killed"))
    await client.wait(lambda: agent.got(wire.CancelRun))
    assert agent.got(wire.CancelRun)[0].call == "ca-inner"


async def test_another_clients_call_cannot_be_fed_or_forgotten(server: Server, client: Client) -> None:
    guest = await guest_of(server, client)
    guest._agent.hold = True
    found = await client.ask(wire.FindFunction("app", "g"))
    assert found.code == "NotFoundError", "an ephemeral app is nobody else's to look up"
    function = server.apps.find("app", OWN).functions["g"]
    client.send(wire.StartCall("ca-mine", function, payloads=(b"P1",)))
    await client.wait(lambda: guest._agent.held)
    guest.send(wire.ForgetCall("ca-mine"), wire.StartCall("ca-mine", function, payloads=(b"P2",)))
    assert (await guest.until(wire.CallRefused)).code == "PermissionDeniedError"
    guest._agent.release()
    assert (await client.results("ca-mine", 1))[0] == (Status.OK, b"P1!")
