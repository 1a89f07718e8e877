"""Large payloads on their way in: memory that was passed, or pieces, gathered until an input refers to them."""

from __future__ import annotations

import json

from inrush.guest.passed import Passed


class Received:
    """Only the pump uses it. The agent sends each blob right before the input that takes it, so little is held."""

    def __init__(self, passed: Passed) -> None:
        self._passed = passed
        self._pieces: dict[str, list[bytes]] = {}

    def piece(self, id: str, data: bytes) -> None:
        """The next bytes of blob `id`."""
        self._pieces.setdefault(id, []).append(data)

    def take(self, reference: bytes) -> memoryview:
        """The payload that a reference stands for, which is let go. Its user may write to it."""
        id = json.loads(reference[1:])["id"]
        pieces = self._pieces.pop(id, None)
        if pieces is not None:
            return memoryview(bytearray().join(pieces))
        found = self._passed.take(id)
        if found is None:
            raise ValueError(f"an input refers to blob {id}, which was not sent")
        return found
