"""The link of the SDK in a container: its frames travel on the container's own socket, so user code needs no network,
address or token to make calls.

The SDK needs packages that the guest does not, so an import hook sets up the link when user code first imports it.
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
    """Carries frames between the SDK in this process and the agent."""

    def __init__(self, channel: Channel) -> None:
        self.restricted = True
        """Whether the function may not make calls; True until its spec says otherwise."""
        self._channel = channel
        self._deliver: Callable[[bytes], None] | None = None
        after_import("inrush.client._link", self._attach_link)
        after_import("inrush.client.context", _attach_context)

    def on_link(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        """Passes a frame to the SDK; on the pump's thread."""
        if self._deliver is not None:
            self._deliver(payloads[0])

    def send(self, frame: bytes) -> None:
        """Sends a frame of the SDK; on any thread. Raises `PermissionDeniedError` if the function is restricted."""
        if self.restricted:
            raise PermissionDeniedError(
                "this function may not make calls of its own: it was declared with restrict_access=True; remove that "
                "to let its code use the SDK"
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
