"""What a template says to the launcher, and what the launcher has to say to its agent because of that: it costs the
template, never the launcher or a neighbour."""

from __future__ import annotations

import asyncio

import pytest

from deadline import DEADLINE_S
from inrush.launcher import statements
from inrush.launcher.client import LaunchError
from inrush.launcher.places import Refused
from launcher.launched import Forked, Node, needs_root

pytestmark = needs_root

_SAY = """
import json
def say(said):
    socket.socket(fileno=os.dup(3)).send(json.dumps(said, ensure_ascii=False).encode())
"""

LONG = {
    "an error in signs of four bytes": "{'failed': dict.fromkeys(('error', 'traceback'), chr(0x1F600) * 50_000)}",
    "a report in signs of two bytes": "{'up': {'threads': 1, 'report': {'ok': True, 'x': chr(0xE9) * 200_000}}}",
    "a report of numbers that JSON writes longer": "{'up': {'threads': 1, 'report': {'x': [9e15] * 50_000}}}",
}
"""Statements that fit into a message, of which the answer to the agent does not: JSON writes it in ASCII."""


async def _neighbour(node: Node) -> Forked:
    await node.template("neighbour")
    return await node.fork("neighbour")


@pytest.mark.parametrize("what", LONG)
async def test_a_template_that_has_much_to_say_fails_alone(node: Node, what: str) -> None:
    neighbour = await _neighbour(node)
    with pytest.raises(LaunchError) as caught:
        async with asyncio.timeout(DEADLINE_S):
            await node.template("t", boot={"before": f"{_SAY}\nsay({LONG[what]})\ntime.sleep(600)"})
    assert caught.value.code == "template"
    assert await neighbour.ask("1 + 1") == "2"
    assert (await node.run("true"))[0].code == 0


async def test_a_forks_account_of_its_time_is_no_longer_than_an_answer_may_be(node: Node) -> None:
    before = f"""
{_SAY}
import inrush.guest.isolate as i
def talk(job, names, report, times):
    report.send(json.dumps({{"ready": [[chr(0x1F600) * 40, 1]] * 2600}}, ensure_ascii=False).encode())
    return socket.socket(fileno=job.guest)
i.become = talk
"""
    await node.template("t", boot={"before": before})
    async with asyncio.timeout(DEADLINE_S):
        forked = await node.fork("t")
    assert len(forked.started.phases) <= statements.MAX_PHASES + 2


async def test_an_end_with_an_impossible_status_is_told_all_the_same(node: Node) -> None:
    before = f"""
{_SAY}
import inrush.guest.zygote as z
def reap(self):
    os.read(self._woken, 4096)
    while self._children and (pid := os.waitpid(-1, os.WNOHANG)[0]):
        say({{"exit": self._children.pop(pid), "status": 10**30}})
z.Zygote._reap = reap
"""
    await node.template("t", boot={"before": before})
    forked = await node.fork("t")
    await node.launcher.kill(forked.id)
    assert (await node.ended(forked.id)).signal


async def test_a_template_that_speaks_of_what_nobody_asked_for_is_ended(node: Node) -> None:
    neighbour = await _neighbour(node)
    before = (
        f"{_SAY}\nif os.fork() == 0:\n    time.sleep(0.5)\n    say({{'exit': 10**6, 'status': 0}})\n    os._exit(0)\n"
    )
    await node.template("t", boot={"before": before})
    await node.ended("t")
    assert await neighbour.ask("1 + 1") == "2"


async def test_an_order_that_fits_into_no_message_is_refused_and_all_others_go_on(node: Node) -> None:
    neighbour = await _neighbour(node)
    for env in ({"LONG": "x" * 600_000}, {"LONG": "x" * 3_000_000}):
        with pytest.raises(LaunchError, match="variables") as caught:
            await node.run("true", env=env)
        assert caught.value.code == "refused"
    assert await neighbour.ask("1 + 1") == "2"
    assert (await node.run("true"))[0].code == 0


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"up": {"threads": 0, "report": {}}},
        {"up": {"threads": 10**30, "report": {}}},
        {"up": {"threads": 1, "report": {"x": float("nan")}}},
        {"up": {"threads": 1, "report": {}, "more": 1}},
        {"failed": {"error": 1}},
        {"exit": 1, "status": -1},
        {"exit": 1, "status": 1e400},
        {"exit": True, "status": 0},
        {"unforked": "1", "error": ""},
    ],
)
def test_what_is_no_statement_is_nonsense(said: dict[str, object]) -> None:
    with pytest.raises((ValueError, Refused)):
        statements.of_template(said)


@pytest.mark.parametrize("said", [None, [["a", float("nan")]], [["a", -1]], [["a", 1e300]], [[1, 1]], [["a", 10**400]]])
def test_what_is_no_account_of_time_is_not_believed(said: object) -> None:
    assert statements.phases(said) == ()
