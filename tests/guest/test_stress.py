"""All kinds of inputs at the same time, cancelled at random: each input is answered once, and no frame is damaged."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from guest.guest_process import CANCELLED, ERROR, OK, GuestProcess, arguments, value

SOURCE = """
import asyncio, random, time
class C:
    def short(self, x):
        return x
    def sleeps(self, x):
        print("sleeping", x)
        time.sleep(0.002)
        print("slept", x)
        return x
    def spins(self, x):
        end = time.monotonic() + 0.001
        while time.monotonic() < end:
            pass
        return x
    async def waits(self, x):
        print("waiting", x)
        await asyncio.sleep(0.002)
        return x
    def fails(self, x):
        print("failing", x)
        raise ValueError(x)
    def yields(self, x):
        for n in range(5):
            print("yielding", n)
            yield n
    async def yields_async(self, x):
        for n in range(5):
            yield n
"""
METHODS = ["short", "sleeps", "spins", "waits", "fails", "yields", "yields_async"]


@pytest.mark.parametrize("seed", range(3))
def test_every_input_is_answered_once_whatever_is_cancelled(guest: GuestProcess, seed: int) -> None:
    chance = random.Random(seed)
    guest.load(SOURCE, "C", is_class=True, methods=METHODS, max_inputs=chance.choice([1, 5, 20]))
    sent: dict[str, tuple[str, int]] = {}
    for number in range(400):
        call, method = f"ca-{number}", chance.choice(METHODS)
        generator = method.startswith("yields")
        count = 1 if generator else chance.randint(1, 10)
        guest.run(call, *(arguments(n) for n in range(count)), method=method, kind="gen" if generator else "map")
        if generator:
            guest.send({"t": "grant", "c": call, "i": 0, "x": chance.choice([0, 3, 10])})
        sent[call] = (method, count)
        if chance.random() < 0.5:
            guest.read(0)
            victim = f"ca-{chance.randint(max(0, number - 30), number)}"
            indexes = [n for n in range(sent[victim][1]) if chance.random() < 0.7]
            guest.send({"t": "cancel", "c": victim, "i": indexes})
    for call, (method, _) in sent.items():
        if method.startswith("yields"):
            guest.send({"t": "grant", "c": call, "i": 0, "x": 10})
    expected = sum(count for _, count in sent.values())
    outs = lambda: [f for f in guest.frames if f[0]["t"] == "out"]  # noqa: E731
    guest.until(lambda: True if sum(len(h["i"]) for h, _ in outs()) >= expected else None, "all answers")
    answered = Counter((header["c"], index) for header, _ in outs() for index in header["i"])
    assert set(answered.values()) == {1}
    assert len(answered) == expected
    for call, (method, count) in sent.items():
        for index, (status, payload) in guest.results(call).items():
            assert index < count
            assert status in (OK, CANCELLED, ERROR)
            assert (status == ERROR) <= (method == "fails")
            if status == OK and not method.startswith("yields"):
                assert value(payload) == index
    assert guest.stop() == 0
