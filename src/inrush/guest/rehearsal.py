"""A rehearsal of a start, which a child of a template runs while it waits for its container.

Most of a start's time goes into copying pages that are written to for the first time after the fork: reference counts,
allocators, stacks. The pages that a rehearsal writes to have been copied when the container starts.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

from inrush import frames
from inrush.guest.channel import Channel
from inrush.guest.descriptors import Descriptors
from inrush.guest.outbox import Outbox
from inrush.guest.pump import Pump

_LOOK_S = 0.001


def rehearse() -> None:
    """Serves an agent that sends one `load` and hangs up. It leaves no thread and no descriptor behind."""
    ours, agent = socket.socketpair()
    channel = Channel()
    channel.open(ours)
    pump = Pump(channel, lambda why: None)
    outbox = Outbox(channel, Descriptors())

    def answer(header: dict[str, Any], payloads: list[bytes]) -> None:
        outbox.say({"t": "ready", "phases": [], "why": ""})
        agent.close()

    pump.handlers = {"load": answer}
    agent.sendall(frames.pack({"t": "load", "spec": {}}, (b"",)))
    thread = threading.Thread(target=pump.run)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):  # Python is done with it before the kernel is
        time.sleep(_LOOK_S)
    channel.abandon()
