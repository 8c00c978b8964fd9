"""nextval(), currval(), lastval() and setval() as DuckDB calls them: one function of ours, over whole vectors.

A vector of nextval() takes all its values at once. Several of these functions in one select list are each computed for
a vector of rows: currval() behind nextval() shows the values of that vector, row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from tsdb.errors import TsdbError
from tsdb.sql.context import SequenceAccess

FUNCTION = "sequence_call"
_ARGUMENTS = ["BIGINT", "VARCHAR", "BIGINT", "BIGINT", "BOOLEAN"]


def install(connection: duckdb.DuckDBPyConnection, sequences: Callable[[int], SequenceAccess]) -> None:
    """``sequences`` finds those of a session by its process id; raises FeatureNotSupported where there is none."""

    def over(process_ids: Any, names: Any, oids: Any, values: Any, flags: Any) -> pa.Array:
        if not len(names):
            return pa.array([], pa.int64())
        try:
            return _answer(sequences(process_ids[0].as_py()), names[0].as_py(), oids, values, flags)
        except TsdbError as error:
            # DuckDB hands on nothing but the text.
            raise ValueError(f"{error.sqlstate}:{error.message}") from None

    connection.create_function(  # type: ignore[call-overload]
        FUNCTION, over, _ARGUMENTS, "BIGINT", type="arrow", null_handling="special", side_effects=True
    )


def _answer(access: SequenceAccess, name: str, oids: Any, values: Any, flags: Any) -> pa.Array:
    if name == "lastval":
        return pa.array(np.full(len(oids), access.lastval(), np.int64))
    if name == "setval":
        rows = zip(oids.to_pylist(), values.to_pylist(), flags.to_pylist(), strict=True)
        return pa.array([_set(access, *row) for row in rows], pa.int64())
    return _each(oids, access.nextval if name == "nextval" else access.currval)


def _set(access: SequenceAccess, oid: int | None, value: int | None, called: bool | None) -> int | None:
    if oid is None or value is None or called is None:
        return None
    return access.setval(oid, value, called=called)


def _each(oids: Any, ask: Callable[[int, int], Any]) -> pa.Array:
    """What ``ask`` says for each distinct sequence and the number of its rows; NULL for NULL."""
    if isinstance(oids, pa.ChunkedArray):
        oids = oids.combine_chunks()
    missing = oids.is_null().to_numpy(zero_copy_only=False)
    numbers = oids.fill_null(0).to_numpy(zero_copy_only=False)
    made = np.zeros(len(oids), np.int64)
    for oid in np.unique(numbers[~missing]).tolist():
        rows = (numbers == oid) & ~missing
        made[rows] = ask(oid, int(rows.sum()))
    return pa.array(made, mask=missing)
