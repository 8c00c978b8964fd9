"""A running choice of rows: the scan gives few more than those, sorted and cut here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.store import ScanRequest, View
from tsdb.sql.context import Context
from tsdb.sql.deadline import Deadlines
from tsdb.sql.expressions.grouping import Ordering
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
        ranks = Ranks(dict(enumerate(found)))
        chosen = None if plan.by is None else first_of_each(len(found[0]), ranks, plan)
        order = ranks.order(plan.order, chosen)
        wanted = [column.type.arrow for column in self.columns]
        if chosen is None and order is None and len(found[0]) and not offset and limit is None:
            return _batch([self._promised(found[at], kind) for at, kind in zip(plan.outputs, wanted, strict=True)])
        rows: Int64s = np.arange(len(found[0]), dtype=np.int64) if chosen is None else chosen
        rows = rows if order is None else rows[order]
        absent = plan.always and not len(rows)
        rows = rows[offset:] if limit is None else rows[offset : offset + limit]
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


def first_of_each(rows: int, ranks: Ranks, plan: FirstRows) -> Int64s | None:
    """Of each combination of the tags ``plan.by`` the row that comes first ``within``; None: all rows, as they lie."""
    assert plan.by is not None
    if plan.by and ranks.rises(Ordering(plan.by[0], descending=False, nulls_first=False)):
        return None
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
