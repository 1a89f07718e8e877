"""Large payloads that arrive, as memory descriptors or in pieces, kept until an input refers to them."""

from __future__ import annotations

import json

from inrush.guest.descriptors import Descriptors


class ArrivedBlobs:
    """The blobs by id; only the pump uses it. The agent sends each blob right before its input, so few are
    held."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._pieces: dict[str, list[bytes]] = {}

    def piece(self, id: str, data: bytes) -> None:
        """Adds the next bytes of blob `id`."""
        self._pieces.setdefault(id, []).append(data)

    def take(self, reference: bytes) -> memoryview:
        """Removes and returns the payload that `reference` names; its memory is writable. Raises `ValueError` if it was
        not sent."""
        id = json.loads(reference[1:])["id"]
        pieces = self._pieces.pop(id, None)
        if pieces is not None:
            return memoryview(bytearray().join(pieces))
        found = self._descriptors.take(id)
        if found is None:
            raise ValueError(f"an input refers to blob {id}, which was not sent")
        return found
