"""The limits of `protocols` for uvicorn's protocol that parses by httptools, where that is installed.

Httptools streams heads and trailers and keeps what it has of a header, so their bytes are counted as they come, in
slices.

A client may offer another protocol (`Upgrade: h2c`), and a server that does not speak it serves the request as if the
offer were not there. Httptools does not: it takes what follows such a head for the other protocol, so the request loses
its body, which is then parsed as the next request. Whoever reaches the port through a proxy that passes the offer on
could put requests of their own choice before those of others. So the head is parsed again without the offer.
"""

from __future__ import annotations

import httptools
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
            self._parse(piece)
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            if self._counting and self._streamed > MAX_HEAD_BYTES:
                self.refuse(431)
                return

    def _parse(self, piece: bytes) -> None:
        """As uvicorn does it, but for offers of other protocols than web sockets."""
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
        """The head that has just come, again."""
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [line, *(b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        self._in_head = self._counting = True
        self._streamed = self._status = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are for nobody
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = self._counting = False
        version = self.parser.get_http_version().encode()
        self._status = fault(self.parser.get_method(), self.url, version, self.headers)
        if self._status or len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("a head that is not taken")
        if self._offers_another():
            return  # `_parse` feeds it again
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
