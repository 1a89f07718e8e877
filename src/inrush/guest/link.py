"""SDK calls of user code: their frames ride the container's own socket, so no network, address or token is needed.

The SDK needs packages that the guest does without, so its link is set up when user code first imports it, by a
hook in the import system.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from inrush import frames
from inrush.errors import PermissionDeniedError
from inrush.guest.attempt import current, current_call_id, current_input_id
from inrush.guest.channel import Channel
from inrush.guest.imports import after_import


class Link:
    """Between the SDK in this process and the agent."""

    def __init__(self, channel: Channel) -> None:
        self.restricted = True
        """Until it is known whether the function may make calls."""
        self._channel = channel
        self._deliver: Callable[[bytes], None] | None = None
        after_import("inrush.client._link", self._attach_link)
        after_import("inrush.client.context", _attach_context)

    def on_link(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        """From the pump: a frame for the SDK."""
        if self._deliver is not None:
            self._deliver(payloads[0])

    def send(self, frame: bytes) -> None:
        """From any thread: a frame of the SDK."""
        if self.restricted:
            raise PermissionDeniedError(
                "this function may not make calls of its own: it was declared with restricted access"
            )
        attempt = current.get()
        if attempt is None or attempt.interrupter is None or not attempt.interrupter.mine:
            self._channel.send(frames.pack({"t": "link"}, (frame,)))
        else:
            with attempt.interrupter:
                self._channel.send(frames.pack({"t": "link"}, (frame,)))

    def _attach_link(self, module: ModuleType) -> None:
        self._deliver = module.use_guest(self.send)


def _attach_context(module: ModuleType) -> None:
    module.provide(current_call_id, current_input_id)
