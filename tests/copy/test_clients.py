"""COPY as real clients send it."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import decimal
import io
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from psycopg.types.json import Json, Jsonb

from tests.copy.outcome import Connection
from tests.session.conftest import Server

AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ROWS = [
    (AT + dt.timedelta(seconds=i), f"host{i % 3}", i / 8, i, 'tab\there\nand \\ "q"' if i % 5 else None)
    for i in range(50)
]


@pytest.fixture
def points(connection: Connection) -> Iterator[Connection]:
    connection.execute("DROP TABLE IF EXISTS points")
    connection.execute(
        "CREATE TABLE points (time timestamptz, host text, usage float8, n int8, note text, PRIMARY KEY (host, time))"
    )
    yield connection
    connection.execute("DROP TABLE points")


def rows(connection: Connection) -> list[Any]:
    return connection.execute("SELECT * FROM points ORDER BY time").fetchall()


def test_psycopg_write_row_in_text(points: Connection) -> None:
    with points.cursor() as cursor, cursor.copy("COPY points FROM STDIN") as copy:
        for row in ROWS:
            copy.write_row(row)
    assert rows(points) == ROWS


def test_psycopg_write_row_in_binary_and_rows_in_binary(points: Connection) -> None:
    types = ["timestamptz", "text", "float8", "int8", "text"]
    with points.cursor() as cursor:
        with cursor.copy("COPY points FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(types)
            for row in ROWS:
                copy.write_row(row)
        with cursor.copy("COPY (SELECT * FROM points ORDER BY time) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(types)
            assert list(copy.rows()) == ROWS
        with cursor.copy("COPY (SELECT * FROM points ORDER BY time) TO STDOUT") as copy:
            copy.set_types(types)
            assert list(copy.rows()) == ROWS


def test_every_type_goes_in_and_out_in_every_format(connection: Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS every")
    connection.execute(
        "CREATE TABLE every (b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric(20,5), t text,"
        " v varchar(20), d date, tm time, iv interval, u uuid, j json, jb jsonb, by bytea, ai int[], at text[])"
    )
    types = [
        "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "date", "time", "interval",
        "uuid", "json", "jsonb", "bytea", "int4[]", "text[]",
    ]  # fmt: skip
    row = (
        True, -5, 6, -(2**63), 0.5, 1e-300, decimal.Decimal("123456.78900"), "é\t\\", "var,\"char\"",
        dt.date(1969, 7, 20), dt.time(1, 2, 3, 4), dt.timedelta(days=3, seconds=5), uuid.UUID(int=7), {"a": [1, None]},
        {"b": "x\ny"}, b"\x00\xff\\", [1, None, 3], ["a b", None, "NULL", ""],
    )  # fmt: skip
    values: list[Any] = [Json(each) if isinstance(each, dict) else each for each in row]
    values[14] = Jsonb(row[14])
    for options in ("", "(FORMAT binary)"):
        connection.execute("DELETE FROM every")
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY every FROM STDIN {options}".encode()) as copy:
                if options:
                    copy.set_types(types)
                copy.write_row(values)
                copy.write_row([None] * len(types))
            assert cursor.execute("SELECT * FROM every WHERE b").fetchall() == [row]
            with cursor.copy(f"COPY (SELECT * FROM every WHERE b) TO STDOUT {options}".encode()) as copy:
                copy.set_types(types)
                assert list(copy.rows()) == [row]
    connection.execute("DROP TABLE every")


PSQL = shutil.which("psql")


@pytest.mark.skipif(PSQL is None, reason="psql is not installed")
def test_psql_copies_inline_data_files_and_queries(server: Server, points: Connection, tmp_path: Any) -> None:
    file = tmp_path / "points.csv"
    with file.open("w") as out:
        csv.writer(out).writerows([["time", "host", "usage", "n", "note"], *ROWS])
    script = f"""\\copy points from '{file}' csv header
COPY points (time, host, usage) FROM stdin;
2026-02-01 00:00:00+00\tinline\t1.25
2026-02-01 00:00:01+00\tinline\t\\N
\\.
\\copy (select host, count(*) from points group by host order by host) to stdout csv header
\\copy points (time, nope) from '{file}'
select 'still here';
"""
    command = [str(PSQL), "-X", "-q", "-A", "-t", f"host=127.0.0.1 port={server.port} user=tester dbname=tsdb"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["host,count", "host0,17", "host1,17", "host2,16", "inline,2", "still here"]
    assert 'column "nope" of relation "points" does not exist' in done.stderr


def test_psycopg2_copies(server: Server, points: Connection) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    with psycopg2.connect(server.dsn()) as client, client.cursor() as cursor:
        lines = io.StringIO("".join(f"{at.isoformat()}\t{host}\t{usage}\n" for at, host, usage, _, _ in ROWS))
        cursor.copy_from(lines, "points", columns=("time", "host", "usage"))
        cursor.copy_expert("COPY points FROM STDIN CSV", io.StringIO('2026-03-01 00:00:00+00,"a,b",,5,\n'))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT host, n FROM points WHERE n = 5) TO STDOUT WITH CSV HEADER", out)
        assert out.getvalue() == 'host,n\n"a,b",5\n'
        out = io.StringIO()
        cursor.copy_to(out, "points", columns=("host",), sep="|")
        assert len(out.getvalue().splitlines()) == 51
    client.close()
    assert len(rows(points)) == 51


def test_asyncpg_copies_records_tables_and_queries(server: Server, points: Connection) -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def run() -> tuple[str, str, bytes]:
        client = await asyncpg.connect(f"postgresql://tester@127.0.0.1:{server.port}/tsdb", ssl=False)
        try:
            copied = await client.copy_records_to_table("points", records=ROWS)
            out = io.BytesIO()
            tag = await client.copy_from_query("SELECT host, n FROM points WHERE n < $1 ORDER BY n", 2, output=out)
            await client.copy_from_table("points", output=io.BytesIO(), format="csv", header=True)
            back = io.BytesIO(b"2026-04-01 00:00:00+00;x;1;2;\n")
            await client.copy_to_table("points", source=back, format="csv", delimiter=";")
            with pytest.raises(asyncpg.exceptions.DataError):
                await client.copy_to_table("points", source=io.BytesIO(b"wrong,x,1,2,\n"), format="csv")
            return copied, tag, out.getvalue()
        finally:
            await client.close()

    assert asyncio.run(run()) == ("COPY 50", "COPY 2", b"host0\t0\nhost1\t1\n")
    assert rows(points)[:50] == ROWS


def test_pandas_writes_by_a_copy_callable(server: Server, points: Connection) -> None:
    pandas = pytest.importorskip("pandas")
    sqlalchemy = pytest.importorskip("sqlalchemy")

    def by_copy(table: Any, connection: Any, keys: list[str], data: Iterable[Any]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(data)
        columns = ", ".join(f'"{key}"' for key in keys)
        with (
            connection.connection.cursor() as cursor,
            cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN CSV") as copy,
        ):
            copy.write(text.getvalue())

    frame = pandas.DataFrame(ROWS, columns=["time", "host", "usage", "n", "note"])
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://tester@127.0.0.1:{server.port}/tsdb?sslmode=disable")
    try:
        frame.to_sql("points", engine, if_exists="append", index=False, method=by_copy)
    finally:
        engine.dispose()
    assert rows(points) == ROWS


def test_adbc_ingests_and_reads_by_binary_copy(server: Server, points: Connection) -> None:
    adbc = pytest.importorskip("adbc_driver_postgresql.dbapi")
    import pyarrow as pa

    names = ["time", "host", "usage", "n", "note"]
    table = pa.table(dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True)))
    table = table.set_column(0, "time", table["time"].cast(pa.timestamp("us", "UTC")))
    uri = f"postgresql://tester@127.0.0.1:{server.port}/tsdb?sslmode=disable"
    with adbc.connect(uri) as client, client.cursor() as cursor:
        assert cursor.adbc_ingest("points", table, mode="append") == 50
        client.commit()
        cursor.execute("SELECT host, n FROM points ORDER BY n LIMIT 3")
        assert cursor.fetch_arrow_table().to_pydict() == {"host": ["host0", "host1", "host2"], "n": [0, 1, 2]}
    assert rows(points) == ROWS
