"""Image builds: a node carries them out, and their output and failures are passed on."""

from __future__ import annotations

from inrush import wire
from inrush.server.serve import Server
from inrush.wire import Recipe, Step

from .peers import Agent, Client

ASK = wire.BuildImage(Recipe(base="debian_slim", steps=(Step(kind="run", args=("{}",)),)), "app")


async def test_a_build_is_told_as_it_goes_and_gives_its_image(server: Server, client: Client) -> None:
    secret = await client.ask(wire.PutSecret((("TOKEN", "v"),)))
    client.send(wire.Ask(50, wire.BuildImage(ASK.recipe, "app", (secret,))))
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.Build] = lambda m: [
        wire.BuildLine(m.build, "step", "run make"),
        wire.BuildLine(m.build, "line", "cc a.c\n"),
        wire.Built(m.build, "im-1", "3.11"),
    ]
    answer = await client.until(wire.Answer)
    assert answer.result == {"image": "im-1", "python": "3.11", "keys": [""]}
    told = [(m.rid, m.kind, m.text) for m in client.messages if isinstance(m, wire.Progress)]
    assert told == [(50, "step", "run make"), (50, "line", "cc a.c\n")]
    assert agent.got(wire.Build)[0].env == (("TOKEN", "v"),)


async def test_a_build_that_fails_is_an_error_with_its_output(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.Build] = lambda m: [wire.Built(m.build, code="ImageBuildError", message="step run: no such compiler")]
    refused = await client.ask(ASK)
    assert (refused.code, refused.message) == ("ImageBuildError", "step run: no such compiler")


async def test_steps_with_secrets_get_a_key_of_their_values_and_no_client_can_choose_it(
    server: Server, client: Client
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.Build] = lambda m: [wire.Built(m.build, "im-1", "3.11")]
    step = Step(kind="run", args=("{}",), secrets=("TOKEN",), key="chosen")
    keys = []
    for value in ("a", "b", "a"):
        secret = await client.ask(wire.PutSecret((("TOKEN", value),)))
        answer = await client.ask(
            wire.BuildImage(Recipe(steps=(step, Step(kind="run", key="chosen"))), "app", (secret,))
        )
        assert [s.key for s in agent.got(wire.Build)[-1].recipe.steps] == answer["keys"]
        keys.append(answer["keys"])
    assert keys[0] == keys[2] != keys[1]
    assert all(len(key) == 64 and other == "" for key, other in keys)
