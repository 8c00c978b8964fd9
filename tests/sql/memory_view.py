"""A View over Arrow tables in memory: a real implementation of ``model.store.View`` for tests of the query path.

It prunes as hard as a store may: only rows in range, with matching tags and within bounds come out. So a rule that
prunes too much gives a wrong answer here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsdb.model.continuous import Progress
from tsdb.model.schema import Catalog, Role, Series
from tsdb.model.store import SEQUENCE, TIME, TIME_NS, Moment, Newest, Scan, ScanRequest, ScanStatistics, TimeRange
from tsdb.model.time import us_of_ns
from tsdb.sql import storage_form


@dataclass
class MemoryView:
    """``tables`` by series number: columns named by column number (stored form), ``time_ns`` and ``sequence``."""

    catalog: Catalog
    tables: dict[int, pa.Table]
    batch_rows: int = 100
    requests: list[ScanRequest] = field(default_factory=list)
    closed: bool = False
    moment: Moment = field(default_factory=lambda: Moment(0, 0))

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        return np.ones(len(tagsets), np.bool_)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> npt.NDArray[np.bool_]:
        return np.ones(len(values[0]), np.bool_)

    def progress(self, series: Series) -> Progress | None:
        return None

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        return [(span.low, span.high)]

    def scan(self, request: ScanRequest) -> Scan:
        self.requests.append(request)
        table = self.tables[request.series.number]
        statistics = ScanStatistics(blocks_total=1, blocks_read=1, rows_read=len(table))
        if request.prune:
            table = table.filter(pa.array(self._kept(request, table)))
            if request.newest is not None:
                table = table.take(pa.array(self._newest(request, request.newest, table), pa.int64()))
        arrays = [self._column(request, table, key) for key in request.columns]
        schema = pa.schema([(str(key), a.type) for key, a in zip(request.columns, arrays, strict=True)])
        # Rows without columns still have a number, which only survives a selection.
        made = pa.table(arrays, schema=schema) if arrays else table.select([])
        return Scan(schema, self._batches(made, statistics), statistics)

    def _batches(self, table: pa.Table, statistics: ScanStatistics) -> Iterator[pa.RecordBatch]:
        whole = table.combine_chunks() if table.num_columns else table
        for batch in whole.to_batches(max_chunksize=self.batch_rows):
            statistics.rows_returned += len(batch)
            yield batch

    def _kept(self, request: ScanRequest, table: pa.Table) -> npt.NDArray[np.bool_]:
        times = table.column(TIME_NS).to_numpy()
        kept: npt.NDArray[np.bool_] = (times >= request.range.low) & (times < request.range.high)
        for tag in request.tags:
            kept &= np.fromiter((tag.test(v) for v in table.column(str(tag.column)).to_pylist()), bool, len(table))
        for bound in request.bounds:
            values = table.column(str(bound.column))
            for limit, compare in ((bound.low, pc.greater_equal), (bound.high, pc.less_equal)):
                if limit is not None:
                    within = compare(values, limit)
                    if compare is pc.greater_equal and pa.types.is_floating(values.type):
                        within = pc.or_(within, pc.is_nan(values))
                    kept &= within.fill_null(False).to_numpy()
        return kept

    def _newest(self, request: ScanRequest, newest: Newest, table: pa.Table) -> list[int]:
        """No row more than must be, in any order; which ones of those as new as each other is left to chance."""
        us = (table.column(TIME_NS).to_numpy() // 1000).tolist()
        groups: dict[tuple[object, ...], list[int]] = {}
        keys = [table.column(str(number)).to_pylist() for number in newest.by]
        for row, key in enumerate(zip(*keys, strict=True) if keys else [()] * len(us)):
            groups.setdefault(key, []).append(row)
        kept: list[int] = []
        chance = random.Random(len(us))
        for rows in groups.values():
            chance.shuffle(rows)
            rows.sort(key=lambda row: us[row] if newest.oldest else -us[row])
            last = us[rows[min(newest.rows, len(rows)) - 1]]
            kept += rows[: newest.rows]
            kept += [row for row in rows[newest.rows :] if newest.ties and us[row] == last]
        chance.shuffle(kept)
        return kept

    def _column(self, request: ScanRequest, table: pa.Table, key: int | str) -> pa.Array:
        if key == TIME:
            times = table.column(TIME_NS).to_numpy()
            return pa.array(us_of_ns(times), pa.int64()).cast(pa.timestamp("us", "UTC"))
        values = table.column(str(key)).combine_chunks()
        if isinstance(key, int) and request.series.by_number[key].role is Role.TAG:
            return values.dictionary_encode() if not pa.types.is_dictionary(values.type) else values
        return values

    def close(self) -> None:
        self.closed = True


def table_of(
    catalog: Catalog, database: str, series_name: str, times_ns: list[int], columns: dict[str, pa.Array]
) -> tuple[int, pa.Table]:
    """(series number, its table) from values in the columns' query form."""
    series = catalog.find(database).find(series_name)
    names, arrays = [TIME_NS, SEQUENCE], [pa.array(times_ns, pa.int64()), pa.array(range(1, len(times_ns) + 1))]
    for column in series.columns:
        if column.role is Role.TIME:
            continue
        stored = storage_form.stored_type(column)
        given = columns.get(column.name)
        array = pa.nulls(len(times_ns), stored) if given is None else storage_form.to_stored(given, column)
        names.append(str(column.number))
        arrays.append(array)
    return series.number, pa.table(arrays, names=names)
