"""What the tests of time-series SQL share: one DuckDB instance for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tsdb.sql.query import Queries


@pytest.fixture(scope="session")
def queries() -> Iterator[Queries]:
    made = Queries(memory_limit_bytes=1 << 30, threads=2)
    yield made
    made.close()
