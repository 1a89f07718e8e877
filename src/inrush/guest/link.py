"""SDK calls of user code: their frames ride the container's own socket, so no network, address or token is needed.

The SDK needs packages that the guest does without, so its link is set up when user code first imports it, by a
hook in the import system.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from inrush import frames
from inrush.errors import PermissionDeniedError
from inrush.guest.channel import Channel
from inrush.guest.context import current, current_call_id, current_input_id

_LINK, _CONTEXT = "inrush.client._link", "inrush.client.context"


class Link:
    """Between the SDK in this process and the agent."""

    def __init__(self, channel: Channel, restricted: bool) -> None:
        self._channel = channel
        self._restricted = restricted
        self._deliver: Callable[[bytes], None] | None = None
        for name, attach in ((_LINK, self._attach_link), (_CONTEXT, _attach_context)):
            if name in sys.modules:
                attach(sys.modules[name])
            else:
                sys.meta_path.insert(0, _AfterImport(name, attach))

    def on_link(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        """From the pump: a frame for the SDK."""
        if self._deliver is not None:
            self._deliver(payloads[0])

    def send(self, frame: bytes) -> None:
        """From any thread: a frame of the SDK."""
        if self._restricted:
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


class _AfterImport:
    """A finder that finds nothing itself, and calls `attach` when the module has been loaded by another."""

    def __init__(self, name: str, attach: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._attach = attach

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader: Any = spec and spec.loader
        if loader is not None:
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                self._attach(module)

            loader.exec_module = exec_module
        return spec
