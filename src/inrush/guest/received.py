"""Large payloads on their way in: pieces, gathered until an input refers to them."""

from __future__ import annotations

import json


class Received:
    """Only the pump uses it. The agent sends each blob right before the input that takes it, so little is held."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[bytes]] = {}

    def piece(self, id: str, data: bytes) -> None:
        """The next bytes of blob `id`."""
        self._pieces.setdefault(id, []).append(data)

    def take(self, reference: bytes) -> bytes:
        """The payload that a reference stands for, which is let go."""
        pieces = self._pieces.pop(json.loads(reference[1:])["id"])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
