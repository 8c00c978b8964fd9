"""delta, increase, rate, resets and averages weighted by time, of groups of points that DuckDB collected in lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.errors import InvalidParameterValue
from tsdb.sql.computed import over_time_kernels as kernels
from tsdb.sql.computed.registry import over_vectors

POINTS = "STRUCT(t BIGINT, v DOUBLE)[]"
_METHODS = {"linear": False, "locf": True}


def points_of(
    groups: pa.ListArray,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(offsets of the groups, times, values) without points that lack either."""
    offsets = groups.offsets.to_numpy().astype(np.int64)
    points = groups.values
    times, values = points.field("t"), points.field("v")
    if times.null_count or values.null_count:
        kept = times.is_valid().to_numpy(zero_copy_only=False) & values.is_valid().to_numpy(zero_copy_only=False)
        before = np.concatenate([[0], np.cumsum(kept)])
        offsets = before[offsets]
        times, values = times.filter(pa.array(kept)), values.filter(pa.array(kept))
    return offsets, times.to_numpy(), values.to_numpy()


def _change(name: str, which: int, result: str) -> None:
    @over_vectors(name, POINTS, result=result)
    def compute(groups: pa.ListArray) -> pa.Array:
        offsets, times, values = points_of(groups)
        results, known = np.zeros(len(groups)), np.zeros(len(groups), bool)
        kernels.changes(offsets, times, values, which, results, known)
        made = pa.array(results, mask=~known)
        return made.cast(pa.int64()) if result == "BIGINT" else made


def _area(name: str, which: int) -> None:
    @over_vectors(name, POINTS, "VARCHAR", result="DOUBLE")
    def compute(groups: pa.ListArray, methods: pa.Array) -> pa.Array:
        offsets, times, values = points_of(groups)
        results, known = np.zeros(len(groups)), np.zeros(len(groups), bool)
        locf = np.array([_is_locf(method) for method in methods.to_pylist()], bool)
        kernels.areas(offsets, times, values, which, locf, results, known)
        return pa.array(results, mask=~known)


def _is_locf(method: str | None) -> bool:
    found = _METHODS.get((method or "").lower())
    if found is None:
        raise InvalidParameterValue(
            f'unknown method "{method}" of a time-weighted average', hint="The methods are 'linear' and 'locf'."
        )
    return found


_change("py_delta", kernels.DELTA, "DOUBLE")
_change("py_increase", kernels.INCREASE, "DOUBLE")
_change("py_rate", kernels.RATE, "DOUBLE")
_change("py_gauge_rate", kernels.GAUGE_RATE, "DOUBLE")
_change("py_resets", kernels.RESETS, "BIGINT")
_area("py_average", kernels.AVERAGE)
_area("py_integral", kernels.INTEGRAL)
