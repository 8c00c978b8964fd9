"""Views over views: a layer answers some of a view's questions itself and passes on the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.continuous import Progress
from tsdb.model.schema import Catalog, Series
from tsdb.model.store import Moment, Scan, ScanRequest, TimeRange, View


class Layer:
    """Implements ``View`` by another one, and closes that one. What a layer answers itself it overrides."""

    def __init__(self, view: View) -> None:
        self.view = view

    @property
    def catalog(self) -> Catalog:
        return self.view.catalog

    @property
    def moment(self) -> Moment:
        return self.view.moment

    def scan(self, request: ScanRequest) -> Scan:
        return self.view.scan(request)

    def knows(self, series: Series, tagsets: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        return self.view.knows(series, tagsets)

    def may_meet(self, request: ScanRequest, values: Sequence[pa.Array]) -> npt.NDArray[np.bool_]:
        return self.view.may_meet(request, values)

    def progress(self, series: Series) -> Progress | None:
        return self.view.progress(series)

    def changes(self, series: Series, since: int, span: TimeRange, quantum_ns: int) -> Sequence[tuple[int, int]]:
        return self.view.changes(series, since, span, quantum_ns)

    def close(self) -> None:
        self.view.close()


class Borrowed(Layer):
    """A view that is somebody else's to close."""

    def close(self) -> None:
        pass
