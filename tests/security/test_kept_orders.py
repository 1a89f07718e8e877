"""What an agent that an attacker has taken over can make the launcher keep: orders of a bounded weight together."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inrush.launcher import kept
from inrush.launcher.client import LaunchError
from launcher.launched import Node, needs_root

LARGE = {"before": "", "rest": [[]] * 170_000}
"""A template's boot that takes twenty times as much memory as its JSON."""


@needs_root
async def test_large_orders_are_refused_before_they_fill_the_memory(node: Node) -> None:
    most = min(kept.MAX_KEPT_BYTES, int(node.can["memory_mib"]) << 16)
    one = kept.of_message(_json(LARGE).encode())
    fit = most // one
    for number in range(fit):
        await node.template(f"t-{number}", boot=LARGE)
    with pytest.raises(LaunchError, match="orders of what runs on this node take") as caught:
        await node.template("one-more", boot=LARGE)
    assert caught.value.code == "busy"
    for number in range(fit):
        await node.launcher.close_template(f"t-{number}")
    async with asyncio.timeout(30):
        while not await _opens(node):  # the launcher keeps an order until its process has ended
            pass


async def _opens(node: Node) -> bool:
    try:
        await node.template("again", boot=LARGE)
    except LaunchError:
        await asyncio.sleep(0.05)
        return False
    return True


def _json(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=10), inner, max_size=6),
    max_leaves=30,
)


@settings(max_examples=50)
@given(JSON)
def test_an_order_takes_no_more_memory_than_it_weighs(data: object) -> None:
    text = _json({"spec": [data] * 50})
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decoded = json.loads(text)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= kept.of_message(text.encode()) + 1000
    assert decoded
