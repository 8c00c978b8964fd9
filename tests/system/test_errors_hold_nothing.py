"""A statement that failed lets go of the data that it read, at once: not when the collector of cycles comes."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.fixtures.server import get

if TYPE_CHECKING:
    from tsdb.server import Server


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held(server: Server) -> str:
    """The metric of moments that are held, once it stands still."""
    for _ in range(30):
        metrics = get(server.http_port, "/metrics")
        found = next(line for line in metrics.splitlines() if line.startswith("tsdb_views "))
        if found == "tsdb_views 0.0":
            break
        time.sleep(0.05)
    return found


@pytest.mark.usefixtures("uncollected")
def test_no_moment_is_held_after_errors(server: Server) -> None:
    url = f"postgresql://tsdb@127.0.0.1:{server.pg_port}/tsdb"
    with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url, autocommit=True) as two:
        one.execute("CREATE TABLE t (time timestamptz, host text TAG, f float8)")
        one.execute("INSERT INTO t VALUES (now(), 'a', 0)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            one.execute("SELECT 1 / f FROM t")
        one.execute("BEGIN")
        one.execute("UPDATE t SET f = f + 1")
        two.execute("UPDATE t SET f = f + 2")
        with pytest.raises(psycopg.errors.SerializationFailure):
            one.execute("COMMIT")
        assert held(server) == "tsdb_views 0.0"
