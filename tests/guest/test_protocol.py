"""What guest and agent each write down, since the guest cannot import `wire`, is the same on both sides."""

from __future__ import annotations

import msgspec

from inrush import frames, wire
from inrush.agent.containers import headers
from inrush.guest import learn, main, outbox, protocol


def test_the_guest_knows_the_codecs_and_statuses_by_their_values() -> None:
    for name in ("PICKLE", "JSON", "ASGI", "BLOB", "PARTS"):
        assert getattr(protocol, name) == wire.Codec[name].value
    for name in ("OK", "ERROR", "TIMEOUT", "CANCELLED", "INTERNAL"):
        assert getattr(protocol, name) == wire.Status[name]


def test_a_failure_that_the_guest_writes_is_the_schemas() -> None:
    written = protocol.system_failure("InputCancelled", "it was cancelled", "CancelledError", "a line")
    read = msgspec.json.decode(written[1:], type=wire.SystemFailure)
    assert read == wire.SystemFailure("InputCancelled", "it was cancelled", "CancelledError", "a line")


def test_the_guest_says_no_more_than_the_agent_takes() -> None:
    assert protocol.INLINE_LIMIT_BYTES <= wire.INLINE_LIMIT_BYTES
    assert protocol.MAX_ITEM_BYTES <= headers.MAX_ITEM_BYTES
    assert protocol.MAX_SAID_CHARS <= headers.MAX_TEXT_CHARS
    assert main.MAX_PHASES <= headers.MAX_PHASES
    assert learn.MAX_NOTED <= headers.MAX_IMPORTS
    assert outbox.MAX_HELD_ENTRIES <= frames.MAX_PAYLOADS
    assert min(headers.MAX_LOG_BYTES, headers.MAX_OUT_BYTES, headers.MAX_ITEM_BYTES) >= 2 * outbox.MAX_HELD_BYTES
