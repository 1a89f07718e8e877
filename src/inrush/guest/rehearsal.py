"""What a child of a template does while it waits for its container: it goes through the motions of a start once.

Most of what a start takes is the copying of pages, each when it is first written to after the fork: of objects that are
counted, of the allocators, of stacks. Those that a rehearsal has written to are the child's own when they are needed.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

from inrush import frames
from inrush.guest.channel import Channel
from inrush.guest.outbox import Outbox
from inrush.guest.passed import Passed
from inrush.guest.pump import Pump


def rehearse() -> None:
    """An agent says one thing, and hangs up; no thread and no descriptor is left."""
    ours, agent = socket.socketpair()
    channel = Channel()
    channel.open(ours)
    pump = Pump(channel, lambda why: None)
    outbox = Outbox(channel, Passed())

    def answer(header: dict[str, Any], payloads: list[bytes]) -> None:
        outbox.say({"t": "ready", "phases": [], "why": ""})
        agent.close()

    pump.handlers = {"load": answer}
    agent.sendall(frames.pack({"t": "load", "spec": {}}, (b"",)))
    thread = threading.Thread(target=pump.run)
    thread.start()
    thread.join()
    channel.abandon()
