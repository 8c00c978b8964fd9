"""pg_dump writes a database of ours down, and PostgreSQL reads it: what it then writes down is the same."""

from __future__ import annotations

import re
import subprocess

import psycopg
import pytest

from tests.catalog.conftest import database_of
from tests.fixtures.postgres import DEBIAN, Connection

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not (DEBIAN / "pg_dump").exists(), reason="pg_dump of PostgreSQL 15 is not installed"),
]

TABLES = (
    "CREATE TABLE points (time timestamptz NOT NULL, host text NOT NULL, region varchar(9), cpu float8, n numeric(9,2),"
    " tags jsonb, arr text[], d date, PRIMARY KEY (host, time))",
    "CREATE INDEX points_region ON points (region, time DESC)",
    "CREATE TABLE devices (id serial PRIMARY KEY, name text UNIQUE NOT NULL, created timestamp DEFAULT now())",
    "CREATE TABLE readings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, device_id int REFERENCES devices(id),"
    " v float8 CHECK (v > -10), kind text DEFAULT 'it''s')",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE SCHEMA lab",
    "CREATE TABLE lab.runs (ts timestamptz NOT NULL, feeling mood, note text)",
    "CREATE SEQUENCE lab.counter START 5 INCREMENT 3",
    "CREATE VIEW hot AS SELECT time, host, cpu FROM points WHERE cpu > 0.5",
    "CREATE MATERIALIZED VIEW by_host AS SELECT host, avg(cpu) AS mean FROM points GROUP BY host",
    "COMMENT ON TABLE points IS 'what was measured'",
    "COMMENT ON COLUMN points.cpu IS 'of one'",
    "INSERT INTO points SELECT '2026-01-01'::timestamptz + g * '1 s'::interval, 'h' || g % 3, 'eu', g / 7.0, 1.5,"
    " '{\"a\": 1}', '{a,b}', '2026-01-01' FROM generate_series(1, 50) g",
    "INSERT INTO devices (name) VALUES ('a'), (E'b\\tc\\n')",
    "INSERT INTO readings (device_id, v) VALUES (1, 0.1), (2, NULL)",
    "INSERT INTO lab.runs VALUES ('2026-01-01', 'ok', NULL)",
)


def dump(address: str) -> str:
    """What pg_dump writes, without what names the server and the moment."""
    done = subprocess.run(
        [str(DEBIAN / "pg_dump"), "--no-owner", address], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return re.sub(r"^(\\(un)?restrict .*|-- Dumped .*)$", "", done.stdout, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def filled(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE dumped")
    address = dsn.replace("dbname=tsdb", "dbname=dumped")
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in TABLES:
            connection.execute(statement.encode())
    return address


def test_postgres_restores_what_pg_dump_writes_and_writes_the_same(filled: str, postgres_15: Connection) -> None:
    written = dump(filled)
    assert "tsdb" not in written, "our own views and functions stay out"
    with database_of(postgres_15, "restored") as restored:
        address = f"host=127.0.0.1 port={restored.info.port} user=tsdb dbname=restored"
        done = subprocess.run(
            [str(DEBIAN / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", address],
            input=written, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert not done.stderr
        assert dump(address) == written


def test_the_schema_alone_and_one_table_are_written(filled: str) -> None:
    done = subprocess.run(
        [str(DEBIAN / "pg_dump"), "--no-owner", "--inserts", "-t", "devices", filled],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "INSERT INTO public.devices VALUES (1, 'a'" in done.stdout
    assert "ALTER COLUMN id SET DEFAULT nextval('public.devices_id_seq'::regclass);" in done.stdout
