"""A body that comes in pieces, since it should not be in memory as a whole: cut at line borders, parsed a few at a
time, written in order. Blocks: runs in worker threads, one at a time.

    writing = PiecewiseWrite(store, request, now_ns, limits, create_database, role)
    writing.feed(piece) …            the lines that are whole by now
    submitted = writing.finish()     durable when its futures have ended

What was handed to the store stays whatever becomes of the rest: the body may break off, a later piece may fail. A line
that is longer than ``Limits.line_bytes_max`` because of a quote that is still open is cut as in a stream (``stream``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from tsdb.errors import InvalidCatalogName, TsdbError
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Parsed
from tsdb.ingest.outcome import Outcome, note_stored
from tsdb.ingest.stream import LineStream
from tsdb.ingest.write import PARTS_AHEAD, Submitted, WriteRequest, joined, parse_ahead, points_stored, submit_parsed
from tsdb.model.roles import FIRST
from tsdb.model.store import Store, Written

# How much should be fed at a time.
PIECE_BYTES = 8 * 1024 * 1024
_Octets = bytes | bytearray | memoryview


class PiecewiseWrite:
    """``request`` is not numbered and takes what is good (``accept_partial``). Raises InvalidCatalogName."""

    def __init__(
        self,
        store: Store,
        request: WriteRequest,
        now_ns: int,
        limits: Limits,
        create_database: bool,
        role: int = FIRST,
    ) -> None:
        if request.database not in store.catalog.databases and not create_database:
            raise InvalidCatalogName(f'database not found: "{request.database}"')
        assert request.producer is None
        assert request.accept_partial
        self._store = store
        self._request = request
        self._now_ns = now_ns
        self._limits = limits
        self._role = role
        self._lines = LineStream(limits.line_bytes_max + 1)
        self._line = 1
        self._parsing: deque[Future[Parsed]] = deque()
        self._outcome = Outcome(0)
        self._futures: list[Future[Written]] = []

    def feed(self, piece: bytes | bytearray) -> None:
        """Raises what ``write.submit`` raises, and what is wrong with what was handed to the store before."""
        first, last = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
        if first < last and b'"' not in piece and not self._lines.quoted:
            # No newline is in a string: only the lines at the borders are copied.
            view = memoryview(piece)
            self._lines.feed(view[:first])
            self._parse(self._lines.take())
            self._parse(view[first:last], piece.count(b"\n", first, last))
            self._lines.feed(view[last:])
        else:
            self._lines.feed(piece)
            self._parse(self._lines.take())
        self._write(PARTS_AHEAD)
        with self._saying_what_is_stored():
            for future in self._futures:
                if future.done():
                    future.result()

    def stored(self) -> int:
        """How many points of it are stored, whatever comes; waits until they are."""
        return points_stored(self._futures)

    def flush(self) -> None:
        """Hand on what is parsed: no piece stays in memory but for the line that it breaks off in."""
        self._write(0)

    def finish(self) -> Submitted:
        """The last line need not end."""
        self._parse(self._lines.end())
        self._write(0)
        return Submitted(self._outcome, tuple(self._futures))

    def _parse(self, part: _Octets, breaks: int | None = None) -> None:
        if len(part):
            self._parsing.append(parse_ahead(self._request, part, self._line, self._now_ns, self._limits))
            self._line += bytes(part).count(b"\n") if breaks is None else breaks

    def _write(self, ahead: int) -> None:
        """Hand on what is parsed, all but the last ``ahead`` parts."""
        while len(self._parsing) > ahead:
            parsed = self._parsing.popleft().result()
            with self._saying_what_is_stored():
                done, futures = submit_parsed(self._store, self._request, [parsed], self._now_ns, self._role)
            self._outcome = joined(self._outcome, done)
            self._futures += futures

    @contextmanager
    def _saying_what_is_stored(self) -> Iterator[None]:
        try:
            yield
        except TsdbError as error:
            note_stored(error, self.stored())
            raise
