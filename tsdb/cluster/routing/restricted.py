"""A scan of some locations at a node that has replicas of others too: points of those are for another node to give."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tsdb.model.ring import Location, bucket_hash, location_of
from tsdb.model.schema import Database
from tsdb.model.store import TIME_NS, Scan, ScanRequest
from tsdb.model.time import bucket_of


def restricted(
    start: Callable[[ScanRequest], Scan], request: ScanRequest, database: Database, locations: Collection[Location]
) -> Scan:
    """What ``start`` gives of a request, but only of these locations; all of it as rows.

    What is newest among all points need not be so among these, and a cell may be of more than one location.
    """
    extra = TIME_NS not in request.columns
    columns = (*request.columns, TIME_NS) if extra else request.columns
    scan = start(replace(request, columns=columns, newest=None, cells=None))
    kept = _Kept(request, database, {each.number for each in locations})
    schema = pa.schema([scan.schema.field(at) for at in range(len(request.columns))])
    return Scan(schema, kept.batches(scan.batches, columns.index(TIME_NS)), scan.statistics, cancel=scan.cancel)


class _Kept:
    def __init__(self, request: ScanRequest, database: Database, numbers: set[int]) -> None:
        self._columns = range(len(request.columns))
        self._database = database
        self._series = request.series.number
        self._numbers = numbers
        self._known: dict[int, bool] = {}

    def batches(self, batches: Iterator[pa.RecordBatch], at: int) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                buckets, inverse = np.unique(bucket_of(np.asarray(batch.column(at))), return_inverse=True)
                wanted = np.fromiter(map(self._is_wanted, buckets.tolist()), np.bool_, len(buckets))
                chosen = batch if wanted.all() else batch.filter(pa.array(wanted[inverse]))
                if chosen.num_rows:
                    yield chosen.select(self._columns)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def _is_wanted(self, bucket: int) -> bool:
        found = self._known.get(bucket)
        if found is None:
            place = bucket_hash(self._database.number, self._series, bucket)
            found = self._known[bucket] = location_of(self._database.locations, place).number in self._numbers
        return found
