"""An UPDATE that changes keys, tags or the time: the points move, all of the statement in one effect.

Whether the new keys are free is asked once all old ones are gone, as PostgreSQL does for a DEFERRABLE primary key; its
others are checked row by row, so that an UPDATE that shifts keys may fail there.

Source: PostgreSQL 15 manual, CREATE TABLE (non-deferred uniqueness constraints).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from tsdb.errors import ProgramLimitExceeded, UniqueViolation
from tsdb.model import uniqueness
from tsdb.model.points import Points
from tsdb.model.relations import null_in
from tsdb.model.schema import Role, Series
from tsdb.model.store import KeyDeletion, View
from tsdb.model.time import us_of_ns
from tsdb.model.uniqueness import Unique
from tsdb.sql.dml.keys import among, existing_rows, keys_of
from tsdb.sql.dml.modification import ROWS_PER_EFFECT

# What one effect holds of rows that move.
BYTES_MAX = 64 << 20


def whole(batches: Iterable[pa.RecordBatch], what: str = "one UPDATE changes the keys of") -> Iterator[pa.RecordBatch]:
    """All batches as one, none if there are no rows. Raises ProgramLimitExceeded."""
    found: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > ROWS_PER_EFFECT or size > BYTES_MAX:
            raise ProgramLimitExceeded(
                f"{what} at most {ROWS_PER_EFFECT} rows and {BYTES_MAX >> 20} MiB",
                hint="Write fewer rows with a statement.",
            )
        found.append(batch)
    if rows:
        yield pa.concat_batches(found)


def check_time(series: Series, new: pa.Array) -> None:
    """Raises NotNullViolation: a point has a time."""
    if new.null_count and series.time is not None:
        raise null_in(series.path, series.time.name)


def check_free(view: View, points: Points, replaced: KeyDeletion) -> None:
    """Raises UniqueViolation where two of the points have one key, or a row that stays has it."""
    taken = np.ones(len(points), np.bool_)
    taken[np.unique(keys_of(points), return_index=True)[1]] = False
    taken |= existing_rows(view, points) & ~among(points, replaced.tagsets, replaced.tagset, replaced.times)
    if taken.any():
        raise _duplicate(points, int(np.flatnonzero(taken)[0]))


def _duplicate(points: Points, row: int) -> UniqueViolation:
    series = points.series
    one = points.take(np.array([row]))
    key = series.key or tuple(c.number for c in series.columns if c.role is not Role.FIELD)
    unique = Unique(series.key_name or f"{series.name}_pkey", key)
    # A point's time is in nanoseconds here; PostgreSQL's, and so the message's, is in microseconds.
    times = int(us_of_ns(one.times)[0])
    values = [times if series.by_number[n].role is Role.TIME else one.column(n)[0].as_py() for n in key]
    return uniqueness.violation(series, unique, values)
