"""ALTER ROLE and ALTER DATABASE … SET, here and on a PostgreSQL: what sessions begin with and what the catalog says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.auth.conftest import Running
from tests.fixtures.postgres import Connection
from tsdb.config import load
from tsdb.server import EmbeddedServer
from tsdb.server.server import Server

Connect = Callable[..., Connection]
SETUP: list[LiteralString] = [
    "CREATE DATABASE set_a", "CREATE DATABASE set_b", "CREATE ROLE set_one LOGIN", "CREATE ROLE set_two LOGIN",
]  # fmt: skip
CLEANUP: list[LiteralString] = [
    "ALTER ROLE ALL RESET ALL", "DROP DATABASE set_a", "DROP DATABASE set_b", "DROP ROLE set_one, set_two",
]  # fmt: skip
STATEMENTS: list[LiteralString] = [
    "ALTER ROLE ALL SET lock_timeout = '1min'",
    "ALTER ROLE ALL SET vacuum_cost_limit = 11",
    "ALTER DATABASE set_a SET lock_timeout = 120000",
    'ALTER DATABASE set_a SET search_path = one, "Two three", public',
    "ALTER ROLE set_one SET lock_timeout TO '3s'",
    "ALTER ROLE set_one SET TIME ZONE 'Europe/Berlin'",
    "ALTER ROLE set_one SET application_name = 'by role'",
    "ALTER ROLE set_one IN DATABASE set_a SET lock_timeout TO 4000",
    "ALTER ROLE ALL IN DATABASE set_b SET work_mem = '8MB'",
    "ALTER ROLE set_two SET work_mem FROM CURRENT",
    "ALTER ROLE set_two SET my.own = 'x'",
    "ALTER ROLE set_two SET nothing_of_it = 1",
    "ALTER ROLE set_two SET work_mem = 'much'",
    "ALTER ROLE set_two SET max_connections = 5",
    "ALTER ROLE set_two SET server_version = 5",
    "ALTER ROLE nobody SET work_mem = '8MB'",
    "ALTER ROLE set_two IN DATABASE nowhere SET work_mem = '8MB'",
    "ALTER DATABASE nowhere SET work_mem = '8MB'",
]
LATER: list[LiteralString] = [
    "ALTER ROLE set_one RESET lock_timeout",
    "ALTER ROLE set_one IN DATABASE set_a RESET ALL",
    "ALTER DATABASE set_a SET lock_timeout TO DEFAULT",
    "ALTER ROLE ALL RESET vacuum_cost_limit",
]
BEGINS = """
SELECT name, setting, replace(source, 'command line', 'default'), reset_val FROM pg_settings
WHERE name IN ('lock_timeout', 'vacuum_cost_limit', 'search_path', 'TimeZone', 'work_mem', 'application_name')
ORDER BY 1
"""
LISTED = """
SELECT coalesce(datname, ''), coalesce(rolname, ''), setconfig FROM pg_db_role_setting
LEFT JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole ORDER BY 1, 2
"""
CONFIGS = "SELECT rolname, rolconfig FROM pg_roles WHERE rolname LIKE 'set%' ORDER BY 1"


def _state(connect: Connect) -> list[object]:
    found: list[object] = []
    for user in ("set_one", "set_two"):
        for database in ("set_a", "set_b"):
            with connect(user=user, dbname=database) as connection:
                found.append(connection.execute(BEGINS).fetchall())
    with connect(user="set_one", dbname="set_a", options="-c lock_timeout=5", application_name="own") as connection:
        found.append(connection.execute(BEGINS).fetchall())
        connection.execute("SET lock_timeout = 7")
        connection.execute("RESET lock_timeout")
        found.append(connection.execute("SHOW lock_timeout").fetchone())
        found.append(connection.execute(LISTED).fetchall())
        found.append(connection.execute(CONFIGS).fetchall())
    return found


def _say(connection: Connection, statement: LiteralString) -> object:
    try:
        return connection.execute(statement).statusmessage
    except psycopg.Error as error:
        return error.sqlstate


@pytest.fixture
def both(open_server: Running, postgres: Connection) -> Iterator[list[tuple[Connection, Connect]]]:
    def ours(**how: str) -> Connection:
        return psycopg.connect(make_conninfo(host="127.0.0.1", port=open_server.server.pg_port, **how))

    def theirs(**how: str) -> Connection:
        return psycopg.connect(make_conninfo(postgres.info.dsn, **how))

    with open_server.connect(password=None) as connection:
        for each in (connection, postgres):
            for statement in SETUP:
                each.execute(statement)
        yield [(connection, ours), (postgres, theirs)]
        for each in (connection, postgres):
            for statement in CLEANUP:
                each.execute(statement)


@pytest.mark.postgres
def test_sessions_begin_as_in_postgresql(both: list[tuple[Connection, Connect]]) -> None:
    said = [[_say(connection, statement) for statement in STATEMENTS] for connection, _ in both]
    assert said[0] == said[1]
    assert _state(both[0][1]) == _state(both[1][1])
    said = [[_say(connection, statement) for statement in LATER] for connection, _ in both]
    assert said[0] == said[1]
    assert _state(both[0][1]) == _state(both[1][1])


def test_who_may_set_what(open_server: Running) -> None:
    with open_server.connect(password=None) as connection:
        connection.execute("CREATE ROLE set_plain LOGIN; CREATE ROLE set_other LOGIN")
        connection.execute("SET ROLE set_plain")
        connection.execute("ALTER ROLE set_plain SET work_mem = '8MB'")
        for refused in (
            "ALTER ROLE set_other SET work_mem = '8MB'", "ALTER ROLE ALL SET work_mem = '8MB'",
            "ALTER DATABASE tsdb SET work_mem = '8MB'", "ALTER ROLE set_plain SET log_statement = 'all'",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())
        connection.execute("RESET ROLE")
        connection.execute("DROP ROLE set_plain, set_other")
        assert connection.execute("SELECT count(*) FROM pg_db_role_setting").fetchone() == (0,)


def test_settings_survive_a_restart_and_go_with_their_database(tmp_path: Path) -> None:
    settings = load({"data": tmp_path / "data", "pg_port": 0, "http_port": 0})

    def shown(server: Server, database: str) -> object:
        address = f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname={database}"
        with psycopg.connect(address, autocommit=True) as connection:
            return connection.execute("SHOW lock_timeout").fetchone()

    with EmbeddedServer(settings) as server:
        address = f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE DATABASE kept")
            connection.execute("ALTER DATABASE kept SET lock_timeout = '9s'")
            connection.execute("ALTER ROLE tsdb SET lock_timeout = '8s'")
    with EmbeddedServer(settings) as server:
        assert shown(server, "kept") == ("8s",)
        address = f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("ALTER ROLE tsdb RESET ALL")
            assert shown(server, "kept") == ("9s",)
            connection.execute("DROP DATABASE kept")
            assert connection.execute("SELECT * FROM pg_db_role_setting").fetchall() == []
