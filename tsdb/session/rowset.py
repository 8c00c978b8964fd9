"""Rows on their way to a client: pulled and encoded piece by piece, in a worker thread.

A ``Rowset`` gives batches; a ``RowSource`` cuts them where a client wants only so many rows at a time; a ``RowStream``
encodes them into whole DataRow messages, in pieces of at most half a MiB. While one piece is sent the next is
made (``exchange``); at most one batch of a result is in memory on the way, and ``budget`` bounds those of all results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import pyarrow as pa

from tsdb import prompt
from tsdb.errors import AdminShutdown, CannotConnectNow
from tsdb.model.store import View
from tsdb.session.budget import SMALL_BYTES, Claim, Crowded
from tsdb.session.patience import NotYet
from tsdb.session.turns import NoTurn, Turn
from tsdb.sql.result import ResultColumn, Rows
from tsdb.types import TEXT
from tsdb.wire.rows import RowEncoder


@dataclass
class Done:
    """A statement that gave no rows."""

    tag: str


class Rowset(Protocol):
    """A running result. ``cancel`` may come from any thread; ``close`` always comes."""

    @property
    def columns(self) -> tuple[ResultColumn, ...]: ...

    def next(self) -> pa.RecordBatch | None:
        """Raises Crowded, NoTurn or NotYet, having done nothing: no memory, no turn or no node for more rows now."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it is known that no more rows come."""
        ...

    def tag(self, rows: int) -> str:
        """The command tag after so many rows."""
        ...

    def cancel(self) -> None: ...

    def rest(self, left_bytes: int) -> None:
        """No more rows are wanted for now; so much of the last batch is left."""
        ...

    def close(self) -> None: ...


Begun: TypeAlias = tuple[Rows, View]
"""A query's rows, and the view that they are read from."""


class Again(Protocol):
    """How a query that has given nothing yet begins anew, where a node has died that it reads."""

    def begin(self) -> Begun:
        """In a view of what there is now. Raises CannotConnectNow, as before."""
        ...

    def refused(self, error: CannotConnectNow) -> Exception:
        """What is to be raised: ``NotYet``, or the error."""
        ...


class QueryRowset:
    """A query that has begun, the claim of its rows' memory (which has entered), and the turn that computing more of
    them needs, if it may take long. Until there is a first row, and its client has got no answer, it may begin
    ``again``."""

    def __init__(
        self, begun: Begun, claim: Claim, turn: Turn | None = None, verb: str = "SELECT", again: Again | None = None
    ) -> None:
        self._rows, self._view = begun
        self._claim = claim
        self._turn = turn
        self._wanted = max(SMALL_BYTES, claim.bytes)
        self._verb = verb
        self._again = again
        self._open = self._reads = True
        self._cancelled = self._given = False

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._rows.columns

    def next(self) -> pa.RecordBatch | None:
        if self._turn is not None:
            self._turn.enter()
        if not self._claim.enter(self._wanted):
            raise Crowded(self._claim)
        try:
            batch = self._next()
        except CannotConnectNow as error:
            raise self._failure(error) from None
        self._again = None
        self._given = self._given or batch is not None
        self._wanted = max(SMALL_BYTES, self._claim.hold(batch.nbytes if batch is not None else 0))
        return batch

    def _next(self) -> pa.RecordBatch | None:
        if not self._reads and self._again is not None:
            columns = self._rows.columns
            self._rows, self._view = self._again.begin()
            self._reads = True
            # Who cancelled meanwhile has told the rows from before.
            if self._cancelled:
                self._rows.cancel()
            if self._rows.columns != columns:
                raise CannotConnectNow("what is read has other columns now", hint="Run the statement again.")
        return next(iter(self._rows), None)

    def _failure(self, error: CannotConnectNow) -> Exception:
        if self._again is not None:
            # What came of it is nothing: all of it begins anew.
            self._close_rows()
            return self._again.refused(error)
        if error.passes and self._given:
            return AdminShutdown(
                f"a node was lost after it had given rows: {error.message}", hint="Run the statement again."
            )
        return error

    def _close_rows(self) -> None:
        if self._reads:
            self._reads = False
            try:
                self._rows.close()
            finally:
                self._view.close()

    @property
    def ended(self) -> bool:
        return self._rows.ended

    def tag(self, rows: int) -> str:
        return f"{self._verb} {rows}" if self._verb == "SELECT" else self._verb

    def cancel(self) -> None:
        self._cancelled = True
        self._rows.cancel()

    def rest(self, left_bytes: int) -> None:
        # What a cursor's client reads later is of the moment when it was declared.
        self._again = None
        self._claim.rest(left_bytes)

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self._close_rows()
            finally:
                self._claim.release()


class FixedRowset:
    """Rows that are there: of SHOW, of RETURNING. ``claim`` is of their memory."""

    def __init__(
        self,
        columns: tuple[ResultColumn, ...],
        batches: Sequence[pa.RecordBatch],
        tag: str,
        claim: Claim | None = None,
    ) -> None:
        self.columns = columns
        self._batches = iter(batches)
        self._tag = tag
        self._claim = claim

    def next(self) -> pa.RecordBatch | None:
        return next(self._batches, None)

    @property
    def ended(self) -> bool:
        return False

    def tag(self, rows: int) -> str:
        return self._tag

    def cancel(self) -> None:
        pass

    def rest(self, left_bytes: int) -> None:
        pass

    def close(self) -> None:
        self._batches = iter(())
        if self._claim is not None:
            self._claim.release()


def text_columns(*names: str) -> tuple[ResultColumn, ...]:
    return tuple(ResultColumn(name, TEXT) for name in names)


def texts(columns: tuple[ResultColumn, ...], rows: Sequence[tuple[str, ...]], tag: str) -> FixedRowset:
    """A small result of text."""
    arrays = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(columns))]
    return FixedRowset(columns, [pa.RecordBatch.from_arrays(arrays, [c.name for c in columns])], tag)


class RowSource:
    """A rowset that can be read a few rows at a time; ``closed`` once it was, after its last row."""

    def __init__(self, rowset: Rowset) -> None:
        self.rowset = rowset
        self.closed = False
        self._left: pa.RecordBatch | None = None
        self._left_bytes = 0

    @property
    def ended(self) -> bool:
        """Whether all rows are taken, as far as that is known without looking for more."""
        return self._left is None and self.rowset.ended

    def take(self, limit: int | None) -> pa.RecordBatch | None:
        """The next rows, at most ``limit``; None at the end."""
        batch, self._left = self._left, None
        while batch is None or batch.num_rows == 0:
            batch = self.rowset.next()
            if batch is None:
                return None
            self._left_bytes = batch.nbytes
        if limit is not None and batch.num_rows > limit:
            self._left = batch.slice(limit)
            return batch.slice(0, limit)
        return batch

    def rest(self) -> None:
        """The client has what it asked for. A slice keeps the memory of the whole batch."""
        self.rowset.rest(self._left_bytes if self._left is not None else 0)


# So few rows are one piece, sent with what ends their result.
LAST_ROWS_MAX = 1024
TOGETHER_BYTES = 64 << 10


class Encoder(Protocol):
    def encode_chunks(self, batch: pa.RecordBatch) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """``last``: no more rows come, in this or any other piece."""

    octets: bytes
    rows: int
    last: bool = False


class Written(Protocol):
    """How a session's client wants texts: its time zone and its encoding's codec."""

    @property
    def timezone(self) -> str: ...

    @property
    def codec(self) -> str: ...


class RowStream:
    """Encodes a source for one client's formats, or by ``encoder``; may be continued after each limit."""

    def __init__(
        self, source: RowSource, formats: Sequence[int], written: Written, encoder: Encoder | None = None
    ) -> None:
        self.source = source
        self.formats = formats
        columns = source.rowset.columns
        self._encoder = encoder or RowEncoder(
            [(c.type, f) for c, f in zip(columns, formats, strict=True)], written.timezone, written.codec
        )
        self._pieces: Iterator[bytes] = iter(())
        self._begun: tuple[Piece | None, Exception | None] | None = None

    def begin(self, left: int | None, check: Callable[[], None]) -> None:
        """Take the first step in the thread that started the rows; what it gives or raises is kept for ``begun``.
        Where nothing may wait all of a small result is made. Raises MayWait."""
        try:
            piece = self.step(left, check)
            if left is None and prompt.is_prompt():
                piece = self._whole(piece, check)
            self._begun = piece, None
        except prompt.MayWait:
            raise
        except (Crowded, NoTurn, NotYet):
            pass  # nothing was done
        except Exception as error:
            self._begun = None, error

    def _whole(self, first: Piece | None, check: Callable[[], None]) -> Piece | None:
        """A piece with those that follow it, as long as they are few."""
        pieces = [] if first is None else [first]
        size = 0 if first is None else len(first.octets)
        while pieces and not pieces[-1].last and size < TOGETHER_BYTES:
            try:
                following = self.step(None, check)
            except (Crowded, NoTurn):
                break
            pieces.append(following or Piece(b"", 0, last=True))
            size += len(pieces[-1].octets)
        if len(pieces) < 2:
            return first
        octets = b"".join([piece.octets for piece in pieces])
        return Piece(octets, sum(piece.rows for piece in pieces), pieces[-1].last)

    def begun(self) -> tuple[bool, Piece | None]:
        """(whether a first step was taken, its piece), once. Raises what that step raised."""
        begun, self._begun = self._begun, None
        if begun is None:
            return False, None
        piece, error = begun
        if error is not None:
            raise error
        return True, piece

    def step(self, left: int | None, check: Callable[[], None]) -> Piece | None:
        """The next piece where ``left`` rows are still wanted; with the last one the rowset is closed. ``check``
        raises when nobody wants it. May block; raises Crowded, NoTurn, NotYet."""
        check()
        piece = self.next(left)
        if piece.last if piece is not None else left != 0:
            self.source.rowset.close()
            self.source.closed = True
        return piece

    def next(self, limit: int | None) -> Piece | None:
        """The next whole DataRow messages; ``limit`` counts rows whose batch is not begun. None: no more rows."""
        octets = next(self._pieces, None)
        if octets is not None:
            return Piece(octets, 0)
        self._pieces = iter(())
        if limit == 0:
            return None
        batch = self.source.take(limit)
        if batch is None:
            return None
        self._pieces = self._encoder.encode_chunks(batch)
        if limit is None and batch.num_rows <= LAST_ROWS_MAX and self.source.ended:
            return Piece(b"".join(self._pieces), batch.num_rows, last=True)
        return Piece(next(self._pieces, b""), batch.num_rows)


def begun(
    rowset: Rowset, stream_of: Callable[[RowSource], RowStream], limit: int | None, check: Callable[[], None]
) -> RowStream:
    """The stream of a rowset with its first piece made, in the thread that started the rows: one trip to the pool."""
    try:
        stream = stream_of(RowSource(rowset))
        stream.begin(limit, check)
    except BaseException:
        rowset.close()
        raise
    return stream


def let_go(result: Done | RowStream) -> None:
    """Of what nobody will see."""
    if isinstance(result, RowStream):
        result.source.rowset.close()


class LimitedRowset:
    """The next rows of a cursor, as FETCH gives them; closing it leaves the cursor open."""

    def __init__(self, source: RowSource, count: int | None, verb: str = "FETCH") -> None:
        self._source = source
        self._left = count
        self._verb = verb
        self.rows = 0

    @property
    def columns(self) -> tuple[ResultColumn, ...]:
        return self._source.rowset.columns

    @property
    def ended(self) -> bool:
        return False

    @property
    def wants_more(self) -> bool:
        """Whether more rows were asked for than have come."""
        return self._left is None or self._left > 0

    def next(self) -> pa.RecordBatch | None:
        if self._left == 0:
            return None
        batch = self._source.take(self._left)
        if batch is not None:
            self.rows += batch.num_rows
            if self._left is not None:
                self._left -= batch.num_rows
        return batch

    def tag(self, rows: int) -> str:
        return f"{self._verb} {rows}"

    def cancel(self) -> None:
        self._source.rowset.cancel()

    def rest(self, left_bytes: int) -> None:
        """The cursor knows better what is left."""
        self._source.rest()

    def close(self) -> None:
        self._source.rest()
