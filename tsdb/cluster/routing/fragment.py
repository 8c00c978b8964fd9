"""A fragment: the part of a scan that runs here for another node, as its cells and then its batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict

import pyarrow as pa

from tsdb.cluster.routing.arrow import batch_of, cells_of_groups, cut, joined
from tsdb.cluster.routing.messages import Ended, SeenOp
from tsdb.cluster.routing.partial import cells_of_rows, is_partial, spared
from tsdb.errors import CannotConnectNow
from tsdb.model.freshness import Seen, ops_in
from tsdb.model.store import Scan, ScanRequest


class Fragment:
    """``next`` until it says None, ``close`` in any case: in any threads, one call at a time.

    ``begin`` runs with the first ``next``. ``is_open``: whether the view that it reads is; ``seen``: of that view.
    """

    def __init__(
        self, request: ScanRequest, begin: Callable[[], Scan], seen: Seen, is_open: Callable[[], bool]
    ) -> None:
        self._request = request
        self._begin = begin
        self._seen = seen
        self._is_open = is_open
        self._scan: Scan | None = None
        self._batches: Generator[tuple[pa.RecordBatch, bool], None, None] | None = None
        self._started = time.perf_counter()

    def next(self) -> tuple[pa.RecordBatch, bool] | None:
        """The next batch, and whether it is of cells. Raises what a scan raises."""
        if not self._is_open():
            raise CannotConnectNow("the node has not any more what the statement has begun to read there")
        if self._batches is None:
            self._scan = self._begin()
            self._batches = batches_of(self._scan, self._request)
        return next(self._batches, None)

    @property
    def token(self) -> tuple[SeenOp, ...]:
        """All that it could see, when it has begun."""
        return ops_in(self._seen.token)

    def ended(self, parts: int) -> Ended:
        """Of one that was read to its end, and sent in so many parts."""
        assert self._scan is not None
        counted = {name: value for name, value in asdict(self._scan.statistics).items() if isinstance(value, int)}
        return Ended(parts, counted, int((time.perf_counter() - self._started) * 1e6), self.token)

    def close(self) -> None:
        """Also of one that was never looked at."""
        if self._batches is not None:
            self._batches.close()
        close = getattr(self._scan.batches, "close", None) if self._scan is not None else None
        if close is not None:
            close()


def batches_of(scan: Scan, request: ScanRequest) -> Generator[tuple[pa.RecordBatch, bool], None, None]:
    """The cells of a scan, then its batches, as cells where they can be: each with whether it is of cells."""
    partial = is_partial(request)
    for batch in joined(_cells(scan, request, partial=partial)):
        for each in cut(batch):
            yield each, True
    if not partial:
        for batch in scan.batches:
            if batch.num_rows:
                for each in cut(batch):
                    yield each, False


def _cells(scan: Scan, request: ScanRequest, *, partial: bool) -> Iterator[pa.RecordBatch]:
    """What a scan says in cells, and (``partial``) its points as cells."""
    wish = request.cells
    if wish is None:
        return
    if scan.groups is not None:
        yield batch_of(spared(cells_of_groups(scan.groups), wish))
    for cells in scan.cells:
        yield batch_of(spared(cells, wish))
    if partial:
        for batch in scan.batches:
            if batch.num_rows:
                yield batch_of(spared(cells_of_rows(batch, request), wish))
