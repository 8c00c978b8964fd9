"""uvicorn's HTTP protocol with what it lacks: bounds on a request's head (bytes and time), bodies of requests that
offer an upgrade (to HTTP/2), and bodies that go from the socket into the application's array.

A head that never ends would otherwise be kept in memory as long as its sender likes. A body that is read the ordinary
way is copied four times: out of the loop's buffer, by the parser, chunk to chunk and into one. So the parser sees heads
alone, where they say how long the body is: what of it comes before the application has an array for it is copied twice.

The parser ends a request with ``Upgrade`` behind its head: its body would be no part of it, and the write a success
without points. Java's client and ``curl --http2`` offer h2c with each request. A server may ignore that (RFC 9110,
7.8), so the head is parsed anew without it.
"""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tsdb.http.body import DIRECT, Again

HEAD_BYTES_MAX = 64 * 1024
HEAD_SECONDS_MAX = 30.0

_TOO_LARGE = b"431 Request Header Fields Too Large"
_TOO_LATE = b"408 Request Timeout"
# Of a request's ``Connection``, when its upgrade is ignored.
_KEPT_TOKENS = (b"close", b"keep-alive")


# What is read at once where nobody has an array for it. It is taken out at once, so one does for all connections. With
# the first of a body that is longer nothing more is read until the application has an array for the rest.
_READ_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_BODY_LENGTH = re.compile(rb"(\r\ncontent-length:[ \t]*)(\d+)(?=[ \t]*\r\n)", re.IGNORECASE)
# Of what comes while a repeated request is answered; then nothing more is read.
_HELD_BYTES = 64 * 1024


class _Known(NamedTuple):
    """A head up to the length of its body and behind it, and who takes requests with such a one."""

    before: bytes
    behind: bytes
    take: Again


class _Scratch(threading.local):
    """One for each thread, and so for each event loop."""

    def __init__(self) -> None:
        self.array = bytearray(_READ_BYTES)
        self.view = memoryview(self.array)


_scratch = _Scratch()


class BoundedHttp(HttpToolsProtocol):
    """One connection. Between requests it may idle as long as uvicorn's keep-alive lets it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._direct: DirectBody | None = None
        # Of a body that the parser does not see, what is still to come and has no array yet.
        self._body_left = 0
        self._head_bytes = 0
        self._in_head = True
        # The parser has seen the beginning of a request whose end it waits for.
        self._begun = False
        self._late: asyncio.TimerHandle | None = None
        # Of the request that the parser was given last, if its head came as a whole.
        self._head = b""
        # What repeats this goes past the parser. While one is under way, what comes is held.
        self._known: _Known | None = None
        self._repeated = False
        self._stopping = False
        self._held = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS_MAX, self._refuse, _TOO_LATE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._direct = None
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._late is None:
                self._late = self.loop.call_later(HEAD_SECONDS_MAX, self._refuse, _TOO_LATE)
        self._parse(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                    head = self._head_without_upgrade()
                    self._renew_parser()
                    self.parser.feed_data(head)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # An upgrade that is not offered but demanded is CONNECT.
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def _renew_parser(self) -> None:
        self._begun = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() in _KEPT_TOKENS)
            if name != b"upgrade":
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    @property
    def _offers_upgrade(self) -> bool:
        """CONNECT is no offer; it is refused as what it is."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._offers_upgrade:
            return
        self._in_head = False
        self._head_bytes = 0
        self._cancel_timer()
        super().on_headers_complete()
        self.scope["extensions"] = {DIRECT: {"body": DirectBody(self, self.cycle, self._head)}}
        self._head = b""

    def begin_direct(self, body: DirectBody) -> None:
        """What is read from here on is the rest of ``body``."""
        self._direct = body
        self._body_left = 0

    def room(self) -> memoryview:
        """Where to put what is read next."""
        return _scratch.view if self._direct is None else self._direct.room()

    def came(self, count: int) -> None:
        """So many bytes are in ``room`` now."""
        if self._repeated:
            self._hold(_scratch.view[:count])
        elif self._direct is not None:
            if self._direct.came(count):
                self._direct = None
                self._end_body()
        elif self._body_left:
            self._body_came(_scratch.view[:count])
        elif self._begun:
            self.data_received(bytes(_scratch.view[:count]))
        else:
            self._request_came(_scratch.view[:count])

    def know(self, head: bytes, take: Again) -> None:
        """Requests with this head, but for the length of their bodies, are for ``take``."""
        lengths = [*_BODY_LENGTH.finditer(head)]
        if len(lengths) == 1 and self.cycle.keep_alive and not self.cycle.waiting_for_100_continue:
            self._known = _Known(head[: lengths[0].end(1)], head[lengths[0].end(2) :], take)

    def _repeats(self, count: int) -> bool:
        """The head that is known, and all of its body: then it is under way."""
        known, array = self._known, _scratch.array
        if known is None or self.pipeline or not self.cycle.response_complete:
            return False
        start = len(known.before)
        if self.flow.write_paused or self.transport.is_closing() or not array.startswith(known.before, 0, count):
            return False
        end = array.find(known.behind, start, min(count, start + 20 + len(known.behind)))
        length = bytes(array[start:end]) if end > start else b""
        begin = end + len(known.behind)
        if not length.isdigit() or int(length) != count - begin:
            return False
        self._repeated = known.take(bytes(array[begin:count]), self._answer)
        if self._repeated:
            self._unset_keepalive_if_required()
        return self._repeated

    def _answer(self, status: int, lines: bytes, body: bytes) -> None:
        """To a request that went past the parser."""
        self._repeated = False
        if self.transport.is_closing():
            return
        self.server_state.total_requests += 1
        always = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        close = b"connection: close\r\n" if self._stopping else b""
        self.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], always, lines, close, body))
        if self._stopping:
            self.transport.close()
            return
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            self.flow.resume_reading()
            self.data_received(held)
        else:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _hold(self, data: memoryview) -> None:
        """The next request, before this one is answered."""
        self._held += data
        if len(self._held) > _HELD_BYTES:
            self.flow.pause_reading()

    def shutdown(self) -> None:
        """The server stops: what is under way is answered."""
        if self._repeated:
            self._stopping = True
        else:
            super().shutdown()

    def _request_came(self, data: memoryview) -> None:
        """A request begins: the parser gets its head, and its body only if that is of unknown length."""
        if self._repeats(len(data)):
            return
        found = _scratch.array.find(_HEAD_END, 0, len(data))
        end = len(data) if found < 0 else found + len(_HEAD_END)
        head = bytes(data[:end])
        self._head = head if found >= 0 else b""
        self.data_received(head)
        rest = data[end:]
        if self._begun and not self._in_head:
            self._body_left = self._length()
        if self._body_left:
            self._body_came(rest)
        elif rest and not self.transport.is_closing():
            self.data_received(bytes(rest))

    def _length(self) -> int:
        """Of the body whose head was parsed; 0 if its end is where the parser finds it."""
        found = 0
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and (found or not value.isdigit())):
                return 0
            if name == b"content-length":
                found = int(value)
        return found

    def _body_came(self, data: memoryview) -> None:
        """What nobody has an array for yet, and perhaps the next request behind it."""
        own = data[: self._body_left]
        self._body_left -= len(own)
        if own and not self.cycle.response_complete:
            self.cycle.body += own
            self.cycle.message_event.set()
            if self._body_left:
                self.flow.pause_reading()
        if not self._body_left:
            self._end_body()
            if len(own) < len(data):
                self.data_received(bytes(data[len(own) :]))

    def _end_body(self) -> None:
        """The parser still waits for the body that it did not see: the next request gets another."""
        self._renew_parser()
        self.on_message_complete()

    def on_message_complete(self) -> None:
        if self._offers_upgrade:
            return
        self._begun = False
        self._in_head = True
        super().on_message_complete()

    def _refuse(self, status: bytes) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class DirectBody:
    """The body of one request, and a short way to its answer; see `tsdb.http.body.Direct`."""

    def __init__(self, protocol: BoundedHttp, cycle: RequestResponseCycle, head: bytes) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._head = head
        self._view = memoryview(b"")
        self._left: int | None = None
        self.filled = 0

    def whole(self) -> bytes | None:
        """Most small bodies come in one packet with their head."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def fill(self, buffer: bytearray, more: int = 0) -> None:
        """The parser's share of the body has come already and goes first."""
        cycle = self._cycle
        first, cycle.body = cycle.body, bytearray()
        fits = min(len(first), len(buffer))
        view = memoryview(buffer)
        view[:fits] = memoryview(first)[:fits]
        cycle.body += first[fits:]
        self._view, self.filled = view, fits
        if self._left is None and cycle.more_body and not cycle.disconnected:
            self._left = len(buffer) + more - len(first)
            self._protocol.begin_direct(self)
        if self.filled < len(buffer) and cycle.more_body and not cycle.disconnected:
            cycle.message_event.clear()

    def again(self, take: Again) -> None:
        """See `tsdb.http.body.Direct`."""
        if self._head:
            self._protocol.know(self._head, take)

    def no_content(self, lines: bytes) -> bool:
        """uvicorn's ``send`` for the answer that nearly every write gets: it looks through each header by patterns."""
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        always = b"".join(b"%b: %b\r\n" % header for header in cycle.default_headers)
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        cycle.transport.write(b"%b%b%b%b\r\n" % (STATUS_LINE[204], always, lines, close))
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True

    def room(self) -> memoryview:
        """Where the rest goes: of a request that was answered meanwhile, nowhere."""
        assert self._left is not None
        if self._cycle.response_complete:
            self._view = memoryview(b"")
            return _scratch.view[: self._left]
        return self._view[self.filled :]

    def came(self, count: int) -> bool:
        """Is it all there?"""
        assert self._left is not None
        self.filled += count
        self._left -= count
        if self.filled < len(self._view) or self._cycle.response_complete:
            return self._left == 0
        self._view = memoryview(b"")
        if self._left:
            # ``receive`` lets it go on, after the next ``fill``.
            self._protocol.flow.pause_reading()
            self._cycle.message_event.set()
        return self._left == 0


class HttpConnection(asyncio.BufferedProtocol):
    """What the event loop holds: it lets a protocol of the other kind, as uvicorn's is, not say where to read to."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._http = BoundedHttp(*arguments, **named)
        self.connection_made = self._http.connection_made  # type: ignore[assignment]
        self.connection_lost = self._http.connection_lost  # type: ignore[method-assign]
        self.eof_received = self._http.eof_received  # type: ignore[method-assign]
        self.pause_writing = self._http.pause_writing  # type: ignore[method-assign]
        self.resume_writing = self._http.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._http.room()

    def buffer_updated(self, nbytes: int) -> None:
        self._http.came(nbytes)
