"""The statements that real clients send (../shared/clients), run here, and how their answers differ from PostgreSQL's.

``python -m tests.catalog.statements`` prints the differences, ``--rows`` those of rows too. Rows that cannot be equal
are listed with their reasons in ``differences``.
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
from psycopg.abc import Loader
from psycopg.adapt import Transformer

from tsdb.config import load
from tsdb.server import EmbeddedServer

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "clients"
STATEMENTS = SHARED / "statements.json"
SCHEMA = SHARED / "schema.sql"


@dataclass(frozen=True)
class Outcome:
    """What a statement gave. ``difference`` is empty when columns and types are PostgreSQL's; ``rows`` are (those of
    PostgreSQL alone, those of ours alone), None where they cannot be compared."""

    id: int
    client: str
    sql: str
    difference: str
    rows: tuple[list[Any], list[Any]] | None = None
    milliseconds: float = 0


def statements() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(STATEMENTS.read_text())
    return found


def rename_first_role(dsn: str) -> None:
    """The capture's superuser is called postgres. Nobody renames himself, so somebody else does it."""
    with psycopg.connect(dsn.replace("tsuser", "tsdb"), autocommit=True) as connection:
        connection.execute("CREATE ROLE renames SUPERUSER LOGIN")
    with psycopg.connect(dsn.replace("tsuser", "renames"), autocommit=True) as connection:
        connection.execute("ALTER ROLE tsdb RENAME TO postgres")
    with psycopg.connect(dsn.replace("tsuser", "postgres"), autocommit=True) as connection:
        connection.execute("DROP ROLE renames")


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


@dataclass(frozen=True)
class Numbers:
    """The OIDs of the clients' objects when they were captured, and as they are here."""

    relations: dict[str, str]
    types: dict[str, str]

    def here(self, value: str) -> str:
        return self.relations.get(value) or self.types.get(value) or value


def _numbers(connection: psycopg.Connection) -> Numbers:
    relations = {"16390": "metrics", "16399": "devices", "16411": "readings", "16422": "v_cpu", "16433": "events"}
    text = "SELECT oid::text FROM pg_class WHERE relname = %s"
    found = {old: connection.execute(text, (name,)).fetchone() for old, name in relations.items()}
    types = connection.execute("SELECT oid::text, typarray::text FROM pg_type WHERE typname = 'metrics'").fetchone()
    assert types is not None
    here = {old: row[0] for old, row in found.items() if row is not None}
    return Numbers(here, {"16392": types[0], "16391": types[1]})


def _translated(statement: dict[str, Any], numbers: Numbers) -> dict[str, Any]:
    sql, parameters = statement["sql"], dict(statement["params"])
    for old, new in numbers.relations.items():
        sql = re.sub(rf"\b{old}\b", new, sql)
        parameters = {k: new if v == old else v for k, v in parameters.items()}
    return {**statement, "sql": sql, "params": parameters}


def run_all(dsn: str) -> Iterator[Outcome]:
    """Each client's statements in their order, on one connection a client."""
    rename_first_role(dsn)
    connections: dict[str, psycopg.Connection] = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        numbers = _numbers(connection)
    before = ""
    try:
        for statement in (_translated(s, numbers) for s in statements()):
            if statement["client"] not in connections or connections[statement["client"]].closed:
                connections[statement["client"]] = psycopg.connect(dsn, autocommit=True)
            connection = connections[statement["client"]]
            _prepare(connection, statement["sql"], before)
            yield run_one(connection, statement, numbers)
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


def run_one(connection: psycopg.Connection, statement: dict[str, Any], numbers: Numbers) -> Outcome:
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
    difference, rows = "", None
    if result.status == pq.ExecStatus.FATAL_ERROR:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        difference = f"{state} {(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b'').decode()[:150]}"
        if wanted is None and _fails_in_postgres(statement["sql"], state):
            difference = ""
    elif wanted is not None:
        difference = _compared(result, wanted)
        rows = None if difference else _compared_rows(result, wanted, statement["sql"], numbers)
    return Outcome(statement["id"], statement["client"], statement["sql"], difference, rows, took)


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


def _compared(result: pq.abc.PGresult, wanted: dict[str, Any]) -> str:
    names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
    oids = [result.ftype(i) for i in range(result.nfields)]
    if names != wanted["cols"]:
        return f"columns {names}, not {wanted['cols']}"
    if oids != wanted["oids"]:
        pairs = [f"{n}: {a}, not {b}" for n, a, b in zip(names, oids, wanted["oids"], strict=True) if a != b]
        return f"types {'; '.join(pairs)}"
    return ""


def _compared_rows(
    result: pq.abc.PGresult, wanted: dict[str, Any], sql: str, numbers: Numbers
) -> tuple[list[Any], list[Any]]:
    loaders = [Transformer().get_loader(result.ftype(c), pq.Format.TEXT) for c in range(result.nfields)]
    ours = [[_shown(result.get_value(r, c), loaders[c]) for c in range(result.nfields)] for r in range(result.ntuples)]
    theirs = [[None if v is None else numbers.here(str(v)) for v in row] for row in wanted["rows"]]
    if len(theirs) < wanted["n"]:
        # The capture was cut; which rows it holds, only a sorted answer tells.
        ours = ours[: len(theirs)]
    if not _is_sorted(sql):
        ours, theirs = sorted(ours, key=str), sorted(theirs, key=str)
    if ours == theirs:
        return [], []
    return [r for r in theirs if r not in ours] or ["in this order"], [r for r in ours if r not in theirs]


def _is_sorted(sql: str) -> bool:
    """Whether the statement itself, outside parentheses, has an ORDER BY."""
    before = None
    while before != sql:
        before, sql = sql, re.sub(r"\([^()]*\)", "", sql)
    return "order by" in sql.lower()


def _shown(value: bytes | memoryview | bytearray | None, loader: Loader) -> str | None:
    """As the capture shows it: as psycopg's Python value, printed."""
    return None if value is None else str(loader.load(value))


def main() -> None:
    """The scoreboard."""
    settings = load({"data": Path(tempfile.mkdtemp()) / "data", "pg_port": 0, "http_port": 0})
    with EmbeddedServer(settings) as server:
        dsn = f"host=127.0.0.1 port={server.pg_port} user=tsuser dbname=tsdb"
        with psycopg.connect(dsn.replace("tsuser", "tsdb"), autocommit=True) as connection:
            for line in create_schema(connection):
                print("refused:", line.replace("\n", " "))
        outcomes = list(run_all(dsn))
    known = [o for o in outcomes if o.rows is not None]
    for o in outcomes:
        if o.difference:
            print(o.id, o.client, o.difference, "|", " ".join(o.sql.split())[:100])
        elif o.rows and any(o.rows) and "--rows" in sys.argv:
            print(f"{o.id} {o.client}: {' '.join(o.sql.split())[:160]}")
            for sign, rows in zip("-+", o.rows, strict=True):
                for row in rows[:4]:
                    print(f"    {sign} {str(row)[:500]}")
    print("slowest:", [(o.id, round(o.milliseconds)) for o in sorted(outcomes, key=lambda o: -o.milliseconds)[:8]])
    print("rows differ:", [o.id for o in known if o.rows and any(o.rows)])
    print(
        f"{sum(not o.difference for o in outcomes)} of {len(outcomes)} right, rows equal in "
        f"{sum(o.rows == ([], []) for o in known)} of {len(known)}"
    )


if __name__ == "__main__":
    main()
