"""The limits of `protocols` for uvicorn's protocol that parses by httptools, where that is installed.

Httptools streams heads and trailers and keeps what it has of a header, so their bytes are counted as they come, in
slices.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inrush.server.port.protocols import MAX_HEAD_BYTES, Bounded, fault

MAX_PIPELINED = 16
"""Requests that a client may send ahead of the answers. (H11 leaves them unparsed.)"""
_SLICE_BYTES = 16 * 1024


class HttpTools(Bounded, HttpToolsProtocol):  # type: ignore[misc]
    """Of httptools, where it is installed. It streams heads and trailers, so their bytes are counted as they
    come."""

    _in_head = _counting = True
    _streamed = 0

    def _feed(self, data: bytes) -> None:
        for at in range(0, len(data), _SLICE_BYTES):
            piece = data[at : at + _SLICE_BYTES]
            self._streamed += len(piece)
            super()._feed(piece)
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            if self._counting and self._streamed > MAX_HEAD_BYTES:
                self.refuse(431)
                return

    def on_message_begin(self) -> None:
        self._in_head = self._counting = True
        self._streamed = self._status = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are for nobody
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = self._counting = False
        self._status = fault([self.parser.get_method(), self.url], self.headers)
        if self._status or len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("a head that is not taken")
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._counting, self._streamed = True, 0

    def on_body(self, body: bytes) -> None:
        self._counting = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._counting = False
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False

    def _under_way(self) -> bool:
        return self.cycle is not None and not (self.cycle.response_complete and not self.cycle.more_body)

    def _body_due(self) -> bool:
        return self.cycle is not None and self.cycle.more_body
