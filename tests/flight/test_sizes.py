"""Small messages that stand for much: dictionaries, views, columns without values."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.auth.conftest import Running
from tests.flight.conftest import port_of
from tsdb import errors
from tsdb.client import connect
from tsdb.flight.sizes import check_plain

LONG = "x" * 1000


def _shared(rows: int, kind: pa.DataType) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array([LONG]).cast(kind))


def _views(rows: int) -> pa.Array:
    """All of them show the same octets."""
    one = pa.array([LONG], pa.string_view()).buffers()
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(one[1].to_pybytes()[:16] * rows), one[2]])


@pytest.mark.parametrize(
    "column",
    [
        _shared(500, pa.string()),
        _shared(500, pa.large_string()),
        _shared(500, pa.large_binary()),
        _shared(500, pa.string_view()),
        _views(500),
        pa.ListArray.from_arrays(pa.array([0, 250, 500]), _views(500)),
        pa.DictionaryArray.from_arrays(pa.array([0] * 500), pa.array([list(range(125))])),
    ],
    ids=lambda column: str(column.type)[:40],
)
def test_what_a_batch_stands_for_is_bounded(column: pa.Array) -> None:
    column.validate(full=True)
    batch = pa.record_batch({"v": column})
    check_plain(batch, 510_000 // 4)
    with pytest.raises(errors.ProgramLimitExceeded, match="stand for 5"):
        check_plain(batch, 400_000 // 4)
    if not pa.types.is_nested(column.type):
        check_plain(batch.slice(1, 1), 3_000)


def test_nulls_and_plain_columns_stand_for_themselves() -> None:
    nothing = pa.DictionaryArray.from_arrays(pa.array([None] * 9, pa.int8()), pa.array([LONG]))
    columns = [nothing, pa.array([None] * 9, pa.string_view()), pa.array([LONG] * 9), pa.nulls(9), pa.array(range(9))]
    check_plain(pa.RecordBatch.from_arrays(columns, list("abcde")), 0)


def test_a_batch_that_would_fill_the_memory_is_refused(guarded_flying: Running) -> None:
    """Of a megabyte, it stands for a terabyte."""
    rows = 1 << 20
    huge = pa.DictionaryArray.from_arrays(pa.array(bytes(rows), pa.int8()), pa.array(["x" * (1 << 20)]))
    table = pa.table({"time": pa.array(range(rows)), "v": huge})
    with connect(port=port_of(guarded_flying), user="tsdb", password="correct horse") as db:
        with pytest.raises(errors.ProgramLimitExceeded, match="dictionaries and views"):
            db.write(table, "huge", rows_per_batch=rows)
        assert db.query("SELECT count(*) AS n FROM huge").to_pylist() == [{"n": 0}]


def test_columns_without_values_are_null(guarded_flying: Running) -> None:
    first = pa.table({"time": [1], "v": [1.0], "w": ["a"]})
    with connect(port=port_of(guarded_flying), user="tsdb", password="correct horse") as db:
        db.write(first, "sparse")
        db.write(pa.table({"time": [2], "v": [2.0], "w": pa.nulls(1)}), "sparse")
        found = db.query("SELECT v, w FROM sparse ORDER BY time_ns").to_pylist()
    assert found == [{"v": 1.0, "w": "a"}, {"v": 2.0, "w": None}]
