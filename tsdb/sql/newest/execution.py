"""A running choice of rows: the scan gives few more than those, sorted and cut here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.store import ScanRequest, View
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.kernel_execution import KernelExecution, Unsuitable
from tsdb.sql.newest.needs import count_of
from tsdb.sql.newest.plan import FirstRows
from tsdb.sql.plan import Values
from tsdb.sql.result import ResultColumn, Rows
from tsdb.sql.sorting import Ranks
from tsdb.sql.stream import ScanStream

Int64s = npt.NDArray[np.int64]

# Values that are held and sorted here at most.
VALUES_MAX = 4 << 20


def limits_of(plan: FirstRows, values: Values) -> tuple[int, int | None]:
    """(OFFSET, LIMIT) of a run. Raises Undecided."""
    return count_of(plan.offset, values), None if plan.limit is None else count_of(plan.limit, values)


class FirstRowsExecution(KernelExecution):
    """``Rows`` of a choice of rows. ``otherwise`` runs the statement in DuckDB, for too many rows.

    ``bounds`` are OFFSET and LIMIT. With ``dictionaries`` a column of tags stays an Arrow dictionary.
    """

    def __init__(
        self,
        plan: FirstRows,
        bounds: tuple[int, int | None],
        request: ScanRequest,
        view: View,
        columns: tuple[ResultColumn, ...],
        deadlines: Deadlines,
        context: Context,
        otherwise: Callable[[], Rows],
        *,
        dictionaries: bool,
    ) -> None:
        super().__init__(view, columns, deadlines, context, otherwise)
        self._plan = plan
        self._bounds = bounds
        self._request = request
        self._dictionaries = dictionaries

    def answer(self) -> pa.RecordBatch:
        plan, (offset, limit) = self._plan, self._bounds
        found = self._read()
        rows: Int64s = np.arange(len(found[0]), dtype=np.int64)
        ranks = Ranks(dict(enumerate(found)))
        if plan.by is not None:
            rows = first_of_each(len(rows), ranks, plan)
        order = ranks.order(plan.order, rows)
        rows = rows if order is None else rows[order]
        absent = plan.always and not len(rows)
        rows = rows[offset:] if limit is None else rows[offset : offset + limit]
        wanted = [column.type.arrow for column in self.columns]
        if absent:
            # LIMIT and OFFSET hold for the one row of NULLs, too.
            count = int(offset == 0 and limit != 0)
            return _batch([pa.nulls(count, kind) for kind in wanted])
        index = pa.array(rows)
        taken = [found[at].take(index) for at in plan.outputs]
        return _batch([self._promised(array, kind) for array, kind in zip(taken, wanted, strict=True)])

    def _promised(self, array: pa.Array, wanted: pa.DataType) -> pa.Array:
        if isinstance(array, pa.DictionaryArray):
            if self._dictionaries and array.type.value_type == wanted:
                return array
            array = array.dictionary_decode()
        return array if array.type == wanted else array.cast(wanted)

    def _read(self) -> list[pa.Array]:
        """All of the scan. Raises Unsuitable."""
        stream = ScanStream(self._request, self.view, self.running)
        batches: list[pa.RecordBatch] = []
        rows = 0
        try:
            for batch in stream.batches():
                self.check()
                rows += len(batch)
                if rows * batch.num_columns > VALUES_MAX:
                    raise Unsuitable
                batches.append(batch)
        finally:
            name = self._request.series.name
            self.own_statistics.scans = [(name, each) for each in stream.statistics]
            stream.close()
        if len(batches) == 1:
            return list(batches[0].columns)
        return [
            pa.concat_arrays([batch.column(at) for batch in batches]) if batches else pa.array([], field.type)
            for at, field in enumerate(stream.schema)
        ]


def first_of_each(rows: int, ranks: Ranks, plan: FirstRows) -> Int64s:
    """Of each combination of the tags ``plan.by`` the row that comes first ``within``."""
    assert plan.by is not None
    keys: list[npt.NDArray[np.int64]] = []
    for place in plan.by:
        rank, absent = ranks.of(place)
        keys.append(np.where(absent, -1, rank))
    order = ranks.order(plan.within)
    order = np.arange(rows, dtype=np.int64) if order is None else order
    if not keys:
        return order[:1]
    # The sort is stable: rows of one combination stay in their order.
    order = order[np.lexsort([key[order] for key in reversed(keys)])]
    first = np.zeros(rows, np.bool_)
    first[:1] = True
    for key in keys:
        sorted_key = key[order]
        first[1:] |= sorted_key[1:] != sorted_key[:-1]
    return order[first]


def _batch(arrays: Sequence[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(arrays), names=[f"c{i + 1}" for i in range(len(arrays))])
