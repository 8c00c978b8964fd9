"""The statements that real clients send (../shared/clients), run here, and how their answers differ from PostgreSQL's.

``python -m tests.catalog.statements`` prints the differences; with ``--rewrite`` it writes what is left to
``not_yet.json`` and what is right to ``same_rows.json``. Read the difference before you commit it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq

from tsdb.config import load
from tsdb.server import EmbeddedServer

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "clients"
STATEMENTS = SHARED / "statements.json"
SCHEMA = SHARED / "schema.sql"


@dataclass(frozen=True)
class Outcome:
    """What a statement gave. ``difference`` is empty when columns and types are PostgreSQL's."""

    id: int
    client: str
    sql: str
    difference: str
    rows_equal: bool | None = None
    milliseconds: float = 0


def statements() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(STATEMENTS.read_text())
    return found


def create_schema(connection: psycopg.Connection) -> list[str]:
    """The clients' schema as far as it goes; the statements that were refused, with their errors."""
    refused = []
    lines = [line for line in SCHEMA.read_text().splitlines() if not line.startswith("\\")]
    for statement in "\n".join(lines).split(";\n"):
        if not statement.strip():
            continue
        # The database is there from the first start, and the first role's.
        statement = statement.replace("CREATE DATABASE tsdb OWNER", "ALTER DATABASE tsdb OWNER TO")
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            refused.append(f"{statement[:60]}: {error}")
    return refused


def _oids(connection: psycopg.Connection) -> dict[str, str]:
    """The OIDs that psql had from its first statement, as they are here."""
    relations = {"16390": "metrics", "16399": "devices", "16411": "readings", "16422": "v_cpu", "16433": "events"}
    text = "SELECT oid::text FROM pg_class WHERE relname = %s"
    found = {old: connection.execute(text, (name,)).fetchone() for old, name in relations.items()}
    return {old: row[0] for old, row in found.items() if row is not None}


def _translated(statement: dict[str, Any], oids: dict[str, str]) -> dict[str, Any]:
    sql, parameters = statement["sql"], dict(statement["params"])
    for old, new in oids.items():
        sql = sql.replace(f"'{old}'", f"'{new}'")
        parameters = {k: new if v == old else v for k, v in parameters.items()}
    return {**statement, "sql": sql, "params": parameters}


def run_all(dsn: str) -> Iterator[Outcome]:
    """Each client's statements in their order, on one connection a client."""
    connections: dict[str, psycopg.Connection] = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        oids = _oids(connection)
    before = ""
    try:
        for statement in (_translated(s, oids) for s in statements()):
            if statement["client"] not in connections or connections[statement["client"]].closed:
                connections[statement["client"]] = psycopg.connect(dsn, autocommit=True)
            connection = connections[statement["client"]]
            _prepare(connection, statement["sql"], before)
            yield run_one(connection, statement)
            before = statement["sql"]
    finally:
        for each in connections.values():
            each.close()


def _prepare(connection: psycopg.Connection, sql: str, before: str) -> None:
    """What the client did besides and the capture, which has each text once, does not show: asyncpg's cursors are
    portals that Bind opened for the statement before; DISCARD ALL came after the end of a transaction."""
    if connection.pgconn.transaction_status == pq.TransactionStatus.INTRANS:
        if sql == "DISCARD ALL":
            connection.pgconn.exec_(b"ROLLBACK")
        portal = re.search(r"__asyncpg_portal_\w+", sql)
        if portal is not None:
            connection.pgconn.exec_(f"DECLARE {portal[0]} CURSOR FOR {before}".encode())


def run_one(connection: psycopg.Connection, statement: dict[str, Any]) -> Outcome:
    wanted = statement.get("postgres")
    if wanted is not None and "cols" not in wanted:
        wanted = None
    started = time.perf_counter()
    if wanted is not None and connection.pgconn.transaction_status == pq.TransactionStatus.INERROR:
        connection.pgconn.exec_(b"ROLLBACK")
    if statement["sql"].lower().startswith("copy"):
        difference = _copied(connection, statement["sql"])
        return Outcome(statement["id"], statement["client"], statement["sql"], difference)
    result = _sent(connection.pgconn, statement)
    took = (time.perf_counter() - started) * 1000
    difference, equal = "", None
    if result.status == pq.ExecStatus.FATAL_ERROR:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        difference = f"{state} {(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b'').decode()[:150]}"
        if wanted is None and _fails_in_postgres(statement["sql"], state):
            difference = ""
    elif wanted is not None:
        difference, equal = _compared(result, wanted)
    return Outcome(statement["id"], statement["client"], statement["sql"], difference, equal, took)


_EMPTY_BINARY = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"


def _copied(connection: psycopg.Connection, sql: str) -> str:
    """COPY out is read to its end, COPY in gets no rows."""
    try:
        with connection.cursor() as cursor, cursor.copy(sql.encode()) as copy:
            if "to stdout" in sql.lower():
                for _ in copy:
                    pass
            elif "binary" in sql.lower():
                copy.write(_EMPTY_BINARY)
    except psycopg.Error as error:
        return f"{error.sqlstate} {error}".partition("\n")[0][:150]
    return ""


def _fails_in_postgres(sql: str, state: str) -> bool:
    """Statements of clients' error paths, and those whose cursor or transaction the capture does not hold."""
    return (state in ("42703", "42P01") and ("nocol" in sql or sql == "select x")) or state in ("34000", "25P01")


def _sent(pgconn: pq.abc.PGconn, statement: dict[str, Any]) -> pq.abc.PGresult:
    # The clients' five seconds of sleep show nothing that a moment does not.
    sql, parameters = statement["sql"].replace("pg_sleep(5)", "pg_sleep(0.01)").encode(), statement["params"]
    if statement["mode"] == "simple":
        result = pgconn.exec_(sql)
    else:
        values = [
            None if parameters.get(k) is None else str(parameters[k]).encode() for k in sorted(parameters, key=int)
        ]
        result = pgconn.exec_params(sql, values)
    return result


def _compared(result: pq.abc.PGresult, wanted: dict[str, Any]) -> tuple[str, bool | None]:
    names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
    oids = [result.ftype(i) for i in range(result.nfields)]
    if names != wanted["cols"]:
        return f"columns {names}, not {wanted['cols']}", None
    if oids != wanted["oids"]:
        pairs = [f"{n}: {a}, not {b}" for n, a, b in zip(names, oids, wanted["oids"], strict=True) if a != b]
        return f"types {'; '.join(pairs)}", None
    rows = [
        [_shown(result.get_value(r, c), oids[c]) for c in range(result.nfields)]
        for r in range(min(result.ntuples, len(wanted["rows"])))
    ]
    equal = result.ntuples == wanted["n"] and rows == [
        [None if v is None else str(v) for v in row] for row in wanted["rows"]
    ]
    return "", equal


def _shown(value: bytes | None, oid: int) -> str | None:
    """As the capture shows it: by Python."""
    if value is None:
        return None
    return {b"t": "True", b"f": "False"}[value] if oid == 16 else value.decode()


def main() -> None:
    """The scoreboard."""
    settings = load({"data": Path(tempfile.mkdtemp()) / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        dsn = f"host=127.0.0.1 port={server.pg_port} user=tsuser dbname=tsdb"
        with psycopg.connect(dsn.replace("tsuser", "tsdb"), autocommit=True) as connection:
            for line in create_schema(connection):
                print("refused:", line.replace("\n", " "))
        outcomes = list(run_all(dsn))
    for o in outcomes:
        if o.difference:
            shown = " ".join(o.sql.split())[:100] if len(sys.argv) < 2 else o.sql
            print(o.id, o.client, o.difference, "|", shown)
    known = [o for o in outcomes if o.rows_equal is not None]
    print("slowest:", [(o.id, round(o.milliseconds)) for o in sorted(outcomes, key=lambda o: -o.milliseconds)[:8]])
    print("rows differ:", [o.id for o in known if not o.rows_equal])
    print(
        f"{sum(not o.difference for o in outcomes)} of {len(outcomes)} right, rows equal in "
        f"{sum(bool(o.rows_equal) for o in known)} of {len(known)}"
    )
    if "--rewrite" in sys.argv:
        _rewrite(outcomes)


def _rewrite(outcomes: list[Outcome]) -> None:
    left: dict[str, list[int]] = {}
    for o in outcomes:
        if o.difference:
            left.setdefault(o.difference.partition("(")[0].partition(":")[0][:60], []).append(o.id)
    here = Path(__file__).parent
    (here / "not_yet.json").write_text(json.dumps(left, indent=1, sort_keys=True) + "\n")
    (here / "same_rows.json").write_text(json.dumps([o.id for o in outcomes if o.rows_equal]) + "\n")


if __name__ == "__main__":
    main()
