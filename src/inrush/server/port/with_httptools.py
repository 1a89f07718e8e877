"""The limits of `protocols` for uvicorn's protocol on httptools, which is used if that is installed.

Httptools streams heads and trailers, and buffers an unfinished header, so their bytes are counted as they come, in
slices.

A client may offer another protocol (`Upgrade: h2c`), and a server without it must serve the request as if there were no
offer. Httptools instead takes everything after such a head for the other protocol, so the request loses its body, which
is then parsed as the next request. A caller behind a proxy that passes the offer on could so smuggle requests in front
of those of others. So a head with such an offer is parsed again without it.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inrush.server.port.protocols import MAX_HEAD_BYTES, Bounded, fault

MAX_PIPELINED = 16
"""The most requests that a client may send ahead of their answers. (H11 leaves such requests unparsed.)"""
_SLICE_BYTES = 16 * 1024


class HttpTools(Bounded, HttpToolsProtocol):  # type: ignore[misc]
    """The protocol of httptools."""

    _in_head = _counting = True
    _streamed = 0

    def _feed(self, data: bytes) -> None:
        for at in range(0, len(data), _SLICE_BYTES):
            piece = data[at : at + _SLICE_BYTES]
            self._streamed += len(piece)
            self._parse(piece)
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            if self._counting and self._streamed > MAX_HEAD_BYTES:
                self.refuse(431)
                return

    def _parse(self, piece: bytes) -> None:
        """Parses data as uvicorn does, except for offers of protocols other than WebSocket."""
        self._unset_keepalive_if_required()
        while piece:
            try:
                self.parser.feed_data(piece)
                return
            except httptools.HttpParserUpgrade as offer:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                piece = self._head_without_offer() + piece[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError:
                self.send_400_response("")
                return

    def _offers_another(self) -> bool:
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _head_without_offer(self) -> bytes:
        """The bytes of the head that has just come, without its offer of another protocol."""
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [line, *(b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        self._in_head = self._counting = True
        self._streamed = self._status = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # nobody uses trailers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = self._counting = False
        version = self.parser.get_http_version().encode()
        self._status = fault(self.parser.get_method(), self.url, version, self.headers)
        if self._status or len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("the head of the request is refused")
        if self._offers_another():
            return  # `_parse` parses the head again
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._counting, self._streamed = True, 0

    def on_body(self, body: bytes) -> None:
        self._counting = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._counting = False
        if self._offers_another():
            return
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False

    def _under_way(self) -> bool:
        return self.cycle is not None and not (self.cycle.response_complete and not self.cycle.more_body)

    def _body_due(self) -> bool:
        return self.cycle is not None and self.cycle.more_body
