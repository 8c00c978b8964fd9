"""ADBC: Arrow in and out, by binary COPY."""

from __future__ import annotations

import adbc_driver_postgresql.dbapi
import pyarrow as pa

from tests.session.conftest import Server


def test_queries_parameters_and_ingest(server: Server) -> None:
    address = f"postgresql://tester@127.0.0.1:{server.port}/tsdb"
    with adbc_driver_postgresql.dbapi.connect(address) as client, client.cursor() as cursor:
        cursor.execute("SELECT 1 AS a, 'x' AS b, 1.5::float8 AS f, '2020-01-01 00:00+00'::timestamptz AS t")
        table = cursor.fetch_arrow_table()
        assert table.select(["a", "b", "f"]).to_pylist() == [{"a": 1, "b": "x", "f": 1.5}]
        assert pa.types.is_timestamp(table.schema.field("t").type)
        cursor.execute("SELECT $1::int + 1", (4,))
        assert cursor.fetchall() == [(5,)]
        cursor.execute("DROP TABLE IF EXISTS adbc_in")
        cursor.adbc_ingest("adbc_in", pa.table({"a": [1, 2], "b": ["x", "y"]}), mode="create")
        client.commit()
        cursor.execute("SELECT a, b FROM adbc_in ORDER BY a")
        assert cursor.fetchall() == [(1, "x"), (2, "y")]
        cursor.execute("DROP TABLE adbc_in")
        client.commit()
