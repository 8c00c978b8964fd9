"""The server's side of one PostgreSQL connection without any I/O: bytes in, events out; answers in, bytes out.

    connection.receive(octets)                  feed what arrived, cut anywhere
    for event in connection.events(): …         drain; events come one by one and the state moves as they are taken
    connection.row_description(…) …             answers collect
    connection.data_to_send()                   take the collected bytes

The moves are tables in ``tsdb.wire._state``. ``next_event`` returns None when more input is needed *or* when it is
the server's turn (``servers_turn``): a Query has to be answered up to ``ready`` before the next message is looked at.

Framing that cannot be right (a length out of bounds, an unknown type, a message out of place) raises an error, after
which the connection is over: the owner calls ``fatal`` with it and closes. A message that is framed well but whose
body is wrong is the event ``Malformed``, which is answered like any failed statement.

Source: PostgreSQL 15 manual, chapter 55.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tsdb.encodings import UTF8
from tsdb.errors import FeatureNotSupported, ProtocolViolation, TsdbError
from tsdb.types import SqlType
from tsdb.wire import backend, copy_data, messages, startup
from tsdb.wire._state import DISCARDED, RECEIVED, SENT, SERVERS_TURN, UNAUTHENTICATED, Sent, State
from tsdb.wire.backend import FieldDescription
from tsdb.wire.messages import FunctionCall, Malformed, Password, SaslInitialResponse, SaslResponse
from tsdb.wire.startup import CancelRequest, GssRequest, SslRequest, Startup

Event = messages.Frontend | Malformed | startup.Packet

MESSAGE_BYTES_MAX = 64 << 20

# What may be long once a client is authenticated; every other message is short (postgres.c, SocketBackend).
_LONG = frozenset(b"QPBFdf")
_SHORT_BYTES_MAX = 10_000

_HTTP_METHODS = frozenset({b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC", b"PRI "})
TLS_HANDSHAKE = 0x16

_PASSWORD_CLASS: dict[State, type[Password] | type[SaslInitialResponse] | type[SaslResponse]] = {
    State.PASSWORD: Password,
    State.SASL_INITIAL: SaslInitialResponse,
    State.SASL_RESPONSE: SaslResponse,
}


class Connection:
    """One client's connection. ``message_bytes_max`` bounds a single message after authentication; ``codec`` is
    Python's name of the client's encoding, in which texts come and go."""

    def __init__(self, *, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._state = State.STARTUP
        self._input = bytearray()
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._message_bytes_max = message_bytes_max
        self._encryption_asked: set[type[startup.Packet]] = set()
        self._speaks_http = False
        self.codec = UTF8

    # --- input ---

    def receive(self, octets: bytes | bytearray | memoryview) -> None:
        """Add input. After the end of the connection input is ignored."""
        if self._state is not State.CLOSED:
            self._input += octets

    def events(self) -> Iterator[Event]:
        """The events that are there now; take one, answer it, take the next."""
        while (event := self.next_event()) is not None:
            yield event

    def next_event(self) -> Event | None:
        """The next event; None if input is missing or it is the server's turn. Raises ``TsdbError``, see above."""
        while self._state not in SERVERS_TURN:
            event = self._next_packet() if self._state is State.STARTUP else self._next_message()
            if event is None:
                return None
            if event is not _DISCARDED:
                assert not isinstance(event, _Discarded)
                return event
        return None

    @property
    def servers_turn(self) -> bool:
        """Whether no further event can come before an answer."""
        return self._state in SERVERS_TURN

    @property
    def closed(self) -> bool:
        return self._state is State.CLOSED

    @property
    def idle(self) -> bool:
        """Between commands: nothing is running and no extended batch or COPY is open."""
        return self._state is State.IDLE

    @property
    def copying_in(self) -> bool:
        """Between CopyInResponse and the end of its data."""
        return self._state in (State.COPY_IN_SIMPLE, State.COPY_IN_EXTENDED)

    @property
    def followed_by_sync(self) -> bool:
        """Whether the next message, as far as input is there, is Sync."""
        return self._input.startswith(b"S\0\0\0\4")

    @property
    def buffered_bytes(self) -> int:
        """Input that no event has taken yet."""
        return len(self._input)

    def _next_packet(self) -> startup.Packet | None:
        self._refuse_other_protocols()
        if len(self._input) < 4:
            return None
        length = int.from_bytes(self._input[:4], "big")
        if not 8 <= length <= startup.STARTUP_BYTES_MAX:
            raise ProtocolViolation(
                "invalid length of startup packet",
                detail=f"It says {length} bytes; 8 to {startup.STARTUP_BYTES_MAX} are allowed.",
            )
        if len(self._input) < length:
            return None
        packet = startup.parse_packet(self._take(length)[4:])
        if isinstance(packet, SslRequest | GssRequest):
            if type(packet) in self._encryption_asked:
                raise ProtocolViolation("encryption was asked for twice")
            self._encryption_asked.add(type(packet))
            self._state = State.NEGOTIATING
        elif isinstance(packet, CancelRequest):
            self._state = State.CLOSED
        else:
            self._state = State.STARTING
            if packet.minor > 0 or packet.unknown_protocol_options:
                self._put(backend.negotiate_protocol_version(packet.unknown_protocol_options))
        return packet

    def _refuse_other_protocols(self) -> None:
        head = bytes(self._input[:4])
        if head[:1] == bytes([TLS_HANDSHAKE]):
            raise ProtocolViolation(
                "TLS must be asked for with an SSLRequest first", hint="Connect without sslnegotiation=direct."
            )
        if head in _HTTP_METHODS:
            self._speaks_http = True
            raise ProtocolViolation("this port speaks the PostgreSQL protocol, not HTTP")

    def _next_message(self) -> messages.Frontend | Malformed | _Discarded | None:
        if len(self._input) < 1:
            return None
        letter = self._input[0]
        move = RECEIVED[self._state].get(letter)
        if move is None and letter not in DISCARDED.get(self._state, ()):
            raise self._misplaced(letter)
        if len(self._input) < 5:
            return None
        length = int.from_bytes(self._input[1:5], "big")
        limit = self._length_limit(letter)
        if not 4 <= length <= limit:
            raise ProtocolViolation(
                f"invalid message length: a {chr(letter)} message says {length} bytes, 4 to {limit} are allowed here"
            )
        if len(self._input) < 1 + length:
            return None
        if letter == copy_data.COPY_DATA and self.copying_in:
            return messages.CopyData(self._take_copy_data())
        body = self._take(1 + length)[5:]
        if move is None:
            return _DISCARDED
        return self._event(letter, body, move)

    def _event(self, letter: int, body: bytes, move: State) -> messages.Frontend | Malformed:
        state, self._state = self._state, move
        if letter == ord("p"):  # there is no statement yet whose error a wrong body could be
            return messages.parse_password(_PASSWORD_CLASS[state], body)
        try:
            event = messages.parse(letter, body, self.codec)
        except TsdbError as error:
            return Malformed(error)
        if isinstance(event, FunctionCall):
            return Malformed(FeatureNotSupported("fast-path function calls are not supported", hint="Use SELECT."))
        return event

    def _length_limit(self, letter: int) -> int:
        if self._state in UNAUTHENTICATED:
            return startup.STARTUP_BYTES_MAX
        return self._message_bytes_max if letter in _LONG else _SHORT_BYTES_MAX

    def _misplaced(self, letter: int) -> ProtocolViolation:
        if letter not in messages.TYPES:
            return ProtocolViolation(f"invalid frontend message type {letter}")
        where = self._state.name.lower().replace("_", " ")
        return ProtocolViolation(f"unexpected message type {chr(letter)} while the connection is in state {where}")

    def _take_copy_data(self) -> bytes:
        """The data of all whole CopyData messages that are there: where one ends means nothing (55.2.6)."""
        with memoryview(self._input) as view:
            parts, taken = copy_data.split(view, self._message_bytes_max)
            octets = b"".join(parts)
            for part in parts:
                part.release()
        del self._input[:taken]
        return octets

    def _take(self, count: int) -> bytes:
        with memoryview(self._input) as view:
            octets = bytes(view[:count])
        del self._input[:count]  # a bytearray moves its start: the rest is not copied each time
        return octets

    # --- output ---

    def data_to_send(self) -> bytes:
        """The bytes collected since the last call."""
        octets = b"".join(self._output)
        self._output.clear()
        self._output_bytes = 0
        return octets

    @property
    def output_bytes(self) -> int:
        """How many bytes ``data_to_send`` would return: flush when they grow beyond, say, 64 KiB."""
        return self._output_bytes

    def _put(self, octets: bytes) -> None:
        self._output.append(octets)
        self._output_bytes += len(octets)

    def _send(self, kind: Sent, octets: bytes) -> None:
        moves = SENT.get(self._state, {})
        assert kind in moves, f"{kind.name} cannot be sent in state {self._state.name}"
        self._state = moves[kind]
        self._put(octets)

    def refuse_encryption(self) -> None:
        """Answer an SslRequest or GssRequest with N: the client goes on in clear text or leaves."""
        self._send(Sent.ENCRYPTION_ANSWER, b"N")

    def accept_encryption(self) -> None:
        """Answer an SslRequest with S; the owner then starts TLS beneath this connection.

        Input that came before the handshake was not encrypted and may be an attacker's (CVE-2021-23214).
        """
        if len(self._input):
            raise ProtocolViolation("received unencrypted data after SSL request")
        self._send(Sent.ENCRYPTION_ANSWER, b"S")

    def authentication_cleartext_password(self) -> None:
        self._send(Sent.PASSWORD_REQUEST, backend.authentication(3))

    def authentication_sasl(self, mechanisms: Sequence[str]) -> None:
        names = b"".join(backend.cstring(name) for name in mechanisms) + b"\0"
        self._send(Sent.SASL_REQUEST, backend.authentication(10, names))

    def authentication_sasl_continue(self, data: bytes) -> None:
        self._send(Sent.SASL_CONTINUE, backend.authentication(11, data))

    def authentication_sasl_final(self, data: bytes) -> None:
        self._send(Sent.SASL_FINAL, backend.authentication(12, data))

    def authentication_ok(self) -> None:
        """The client may come in. Parameters, key and ``ready`` follow; none of them may come before."""
        self._send(Sent.AUTHENTICATED, backend.authentication(0))

    def parameter_status(self, name: str, value: str) -> None:
        self._send(Sent.ANSWER, backend.parameter_status(name, value, self.codec))

    def backend_key_data(self, process_id: int, secret_key: int) -> None:
        self._send(Sent.ANSWER, backend.backend_key_data(process_id, secret_key))

    def ready(self, status: str) -> None:
        """ReadyForQuery: ``status`` is I (idle), T (in a transaction) or E (in a failed one)."""
        assert status in ("I", "T", "E"), status
        self._send(Sent.READY, backend.ready_for_query(status))

    def row_description(self, fields: Sequence[FieldDescription]) -> None:
        self._send(Sent.ANSWER, backend.row_description(fields, self.codec))

    def described(self, octets: bytes) -> None:
        """A whole RowDescription message, as ``tsdb.wire.backend`` makes it."""
        self._send(Sent.ANSWER, octets)

    def data_rows(self, octets: bytes) -> None:
        """Whole DataRow messages, as ``tsdb.wire.rows.RowEncoder`` writes them."""
        self._send(Sent.ANSWER, octets)

    def command_complete(self, tag: str) -> None:
        self._send(Sent.ANSWER, backend.command_complete(tag))

    def empty_query(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"I"))

    def parse_complete(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"1"))

    def bind_complete(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"2"))

    def close_complete(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"3"))

    def no_data(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"n"))

    def portal_suspended(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"s"))

    def parameter_description(self, types: Sequence[SqlType]) -> None:
        self._send(Sent.ANSWER, backend.parameter_description([sql_type.oid for sql_type in types]))

    def copy_in_response(self, format_codes: Sequence[int], *, binary: bool) -> None:
        """Start COPY FROM STDIN: the next events are CopyData …, then CopyDone or CopyFail."""
        self._send(Sent.COPY_IN, backend.copy_response(b"G", format_codes, binary=binary))

    def copy_out_response(self, format_codes: Sequence[int], *, binary: bool) -> None:
        """Start COPY TO STDOUT: ``copy_data`` …, then ``copy_done``."""
        self._send(Sent.ANSWER, backend.copy_response(b"H", format_codes, binary=binary))

    def copy_data(self, data: bytes) -> None:
        self._send(Sent.ANSWER, backend.copy_data(data))

    def copy_done(self) -> None:
        self._send(Sent.ANSWER, backend.message(b"c"))

    def notification(self, process_id: int, channel: str, payload: str) -> None:
        self._send(Sent.ANSWER, backend.notification(process_id, channel, payload, self.codec))

    def notice(self, error: TsdbError, severity: str = "NOTICE") -> None:
        """NOTICE, WARNING, INFO, LOG or DEBUG; what is said is in the fields of ``error``."""
        self._send(Sent.ANSWER, backend.diagnostic(b"N", severity, error, self.codec))

    def error(self, error: TsdbError) -> None:
        """The statement failed. In the extended protocol, everything up to Sync is skipped from here on."""
        self._send(Sent.ERROR, backend.diagnostic(b"E", "ERROR", error, self.codec))

    def fatal(self, error: TsdbError) -> None:
        """The last message: the connection is over in every state. An HTTP client is told so in its own tongue."""
        if self._state is not State.CLOSED:
            self._put(_http_refusal(error) if self._speaks_http else backend.diagnostic(b"E", "FATAL", error))
        self._state = State.CLOSED
        self._input.clear()


class _Discarded:
    """A message that was skipped."""


_DISCARDED = _Discarded()


def _http_refusal(error: TsdbError) -> bytes:
    text = (error.message + "\n").encode()
    lines = (
        "HTTP/1.1 400 Bad Request",
        "Content-Type: text/plain",
        f"Content-Length: {len(text)}",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + text


__all__ = ["Connection", "Event", "FieldDescription", "Startup"]
