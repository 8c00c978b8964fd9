"""Values at rows: as Arrow takes them, of every kind, with and without nulls, of slices."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_formats.values import bits, columns, kinds
from tsdb.storage.taking import take_values


@given(kinds.flatmap(columns), st.data())
def test_values_are_taken_as_arrow_takes_them(values: pa.Array, data: st.DataObject) -> None:
    if len(values) == 0:
        return
    rows = np.array(data.draw(st.lists(st.integers(0, len(values) - 1))), np.int64)
    found = take_values(values, rows)
    assert found.type == values.type
    assert bits(found) == bits(values.take(pa.array(rows)))
