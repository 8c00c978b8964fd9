"""What DuckDB's postgres scanner asks: it reads the catalog, snapshots and COPY … TO STDOUT (FORMAT binary)."""

import glob
import os
import sys

import duckdb
import duckdb_extension_postgres_scanner as scanner

CREATE = """CREATE TABLE dm (time timestamptz NOT NULL, host text NOT NULL, cpu float8, n int8, ok bool, d date,
  v varchar(20), arr text[], PRIMARY KEY (time, host))"""
INSERT = """INSERT INTO dm VALUES
  ('2026-01-01 00:00:00.123456+00', 'h0', 1.5, 7, true, '2026-02-03', 'v', '{a,"b,c"}'),
  ('2026-01-01 00:00:01+00', 'h1', NULL, NULL, NULL, NULL, NULL, NULL)"""
STEPS = (
    ("create", f"CALL postgres_execute('pg', $${CREATE}$$)"),
    ("insert", f"CALL postgres_execute('pg', $${INSERT}$$)"),
    ("clear", "CALL pg_clear_cache()"),
    (
        "tables",
        "SELECT schema_name, column_count FROM duckdb_tables() WHERE database_name = 'pg' AND table_name = 'dm'",
    ),
    ("describe", "DESCRIBE pg.dm"),
    ("select", "SELECT epoch_us(time), host, cpu, n, ok, d, v, arr FROM pg.dm ORDER BY time"),
    ("filter", "SELECT host FROM pg.dm WHERE host = 'h1'"),
    ("aggregate", "SELECT count(*), avg(cpu) FROM pg.dm"),
    (
        "copied",
        """INSERT INTO pg.dm (time, host, cpu)
           SELECT TIMESTAMPTZ '2026-01-02 00:00:00+00' + to_seconds(k), 'copied', k FROM range(1000) t(k)""",
    ),
    (
        "query",
        """SELECT * FROM postgres_query('pg', $$SELECT count(*) AS c, sum(cpu) AS s FROM dm WHERE host = 'copied'$$)""",
    ),
    ("drop", "CALL postgres_execute('pg', 'DROP TABLE dm')"),
)


def main(port: str) -> None:
    there = os.path.join(os.path.dirname(scanner.__file__), "extensions", "*", "*.duckdb_extension")
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{glob.glob(there)[0]}'")
    connection.execute(f"ATTACH 'host=127.0.0.1 port={port} user=tsdb dbname=tsdb' AS pg (TYPE postgres)")
    for what, sql in STEPS:
        try:
            found = str(connection.execute(sql).fetchall())
        except duckdb.Error as error:
            found = f"error {type(error).__name__} {' '.join(str(error).split())[:300]}"
        print(f"{what}: {found}", flush=True)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
