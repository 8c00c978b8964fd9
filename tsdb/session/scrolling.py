"""A cursor's place among its rows, and what FETCH and MOVE read from there.

Place p is on row p, from 1; 0 is before the first row, one more than there are rows is after the last. A cursor that
was declared SCROLL keeps the rows it has read, up to a bound, and goes backward among them; any other streams forward
and refuses to go back (55000).

Source: PostgreSQL 15 manual, FETCH; src/backend/tcop/pquery.c (DoPortalRunFetch).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tsdb.errors import ObjectNotInPrerequisiteState, ProgramLimitExceeded
from tsdb.session.rowset import FixedRowset, LimitedRowset, Rowset, RowSource

# What a SCROLL cursor keeps.
SCROLL_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class Motion:
    """``direction`` is forward, backward, absolute or relative; ``count`` None is ALL."""

    direction: str
    count: int | None

    @property
    def steps(self) -> tuple[str, int | None]:
        """(forward, backward or absolute; count ≥ 0, absolute's of any sign)."""
        if self.direction in ("forward", "backward") and self.count is not None and self.count < 0:
            return "backward" if self.direction == "forward" else "forward", -self.count
        return self.direction, self.count


@dataclass
class Cursor:
    """``source`` is read from where it is; blocks."""

    source: RowSource
    scroll: bool = False
    place: int = 0
    _kept: list[pa.RecordBatch] = field(default_factory=list)
    _rows: int = 0
    _bytes: int = 0
    _ended: bool = False

    def fetch(self, motion: Motion, verb: str) -> Rowset:
        """The rows of a FETCH, or those that MOVE passes. Raises ObjectNotInPrerequisiteState, ProgramLimitExceeded."""
        direction, count = motion.steps
        if direction == "relative":
            assert count is not None
            return self._relative(count, verb)
        if direction == "absolute":
            assert count is not None
            return self._absolute(count, verb)
        if direction == "backward" and count != 0:
            return self._backward(count, verb)
        if count == 0:
            if direction == "backward":
                self._must_scroll()
            return self._relative(0, verb)
        return self._forward(count, verb)

    def _forward(self, count: int | None, verb: str) -> Rowset:
        if not self.scroll:
            return _Counting(self, count, verb)
        self._keep(None if count is None else self.place + count)
        first = self.place
        last = self._rows if count is None else min(self._rows, first + count)
        # Past the last row only when more were asked for than there are.
        after = count is None or last - first < count
        self.place = self._rows + 1 if after else last
        return self._slice(first, last, verb)

    def _backward(self, count: int | None, verb: str) -> Rowset:
        self._must_scroll()
        last = min(self.place - 1, self._rows)
        first = 0 if count is None else max(0, last - count)
        after = count is None or last - first < count
        self.place = 0 if after else first + 1
        return self._slice(first, max(last, first), verb, backward=True)

    def _relative(self, count: int, verb: str) -> Rowset:
        if count == 0:
            self._must_scroll() if self.place else None
            on_row = 0 < self.place <= self._rows
            return self._slice(self.place - 1, self.place, verb) if on_row else self._slice(0, 0, verb)
        if count < 0:
            self._must_scroll()
        return self._absolute_to(self.place + count, verb)

    def _absolute(self, place: int, verb: str) -> Rowset:
        if place < 0:
            self._must_scroll()
            self._keep(None)
            place = max(0, self._rows + 1 + place)
        return self._absolute_to(place, verb)

    def _absolute_to(self, place: int, verb: str) -> Rowset:
        """Go to a place and read its row."""
        place = max(0, place)
        if not self.scroll:
            if place <= self.place and self.place:
                self._must_scroll()
            if place == 0:
                return self._slice(0, 0, verb)
            _read(_Counting(self, place - self.place - 1, verb))
            return _Counting(self, 1, verb)
        self._keep(place)
        self.place = min(place, self._rows + 1)
        return self._slice(max(0, place - 1), min(place, self._rows), verb)

    def end(self) -> None:
        """A stream has no more rows: the place is after the last."""
        self.place += 0 if self._ended else 1
        self._ended = True

    def _must_scroll(self) -> None:
        if not self.scroll:
            raise ObjectNotInPrerequisiteState(
                "cursor can only scan forward", hint="Declare it with SCROLL option to enable backward scan."
            )

    # --- rows that are kept ---

    def _keep(self, rows: int | None) -> None:
        """Read until so many rows are there, or all."""
        while not self._ended and (rows is None or self._rows < rows):
            batch = self.source.take(None)
            if batch is None:
                self._ended = True
                return
            if self._bytes + batch.nbytes > SCROLL_BYTES_MAX:
                raise ProgramLimitExceeded(
                    f"a SCROLL cursor keeps at most {SCROLL_BYTES_MAX >> 20} MiB of rows",
                    hint="Declare it NO SCROLL, or ask for fewer rows.",
                )
            self._kept.append(batch)
            self._rows += batch.num_rows
            self._bytes += batch.nbytes

    def _slice(self, first: int, last: int, verb: str, *, backward: bool = False) -> Rowset:
        """The kept rows [first, last), counted from 0."""
        found: list[pa.RecordBatch] = []
        at = 0
        for batch in self._kept:
            low, high = max(first, at), min(last, at + batch.num_rows)
            if low < high:
                found.append(batch.slice(low - at, high - low))
            at += batch.num_rows
        if backward:
            found = [batch.take(pa.array(np.arange(batch.num_rows)[::-1])) for batch in reversed(found)]
        return FixedRowset(self.source.rowset.columns, found, _tag(verb, max(0, last - first)))


class _Counting(LimitedRowset):
    """The next rows of a cursor that only goes forward: its place moves as they are read."""

    def __init__(self, cursor: Cursor, count: int | None, verb: str) -> None:
        super().__init__(cursor.source, count, verb)
        self._cursor = cursor

    def next(self) -> pa.RecordBatch | None:
        batch = super().next()
        if batch is not None:
            self._cursor.place += batch.num_rows
        elif self.wants_more:
            self._cursor.end()
        return batch


def _read(rowset: LimitedRowset) -> None:
    while rowset.next() is not None:
        pass
    rowset.close()


def _tag(verb: str, rows: int) -> str:
    return f"{verb} {int(rows)}"
