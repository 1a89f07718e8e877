"""Where an agent reads blobs from: the server's store on this machine, or a copy fetched from it."""

from __future__ import annotations

from typing import Protocol


class Readable(Protocol):
    """An open blob. `read(n)` gives at most n bytes, and none at the end."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class BlobReader(Protocol):
    """Blobs by id, such as `sha256-…`."""

    def open(self, id: str, /) -> Readable:
        """Raises `NotFoundError` where there is no such blob."""
        ...
