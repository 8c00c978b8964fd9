"""Roles and privileges by SQL: who may do what, with PostgreSQL's messages and 42501."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.auth.conftest import Denied, Running


@pytest.fixture(scope="module")
def filled(guarded: Running) -> Running:
    """Owners, a reader and a writer around the tables cpu and secret."""
    guarded.run(
        "CREATE ROLE readers", "CREATE USER owner PASSWORD 'x'", "CREATE USER reader PASSWORD 'x' IN ROLE readers",
        "CREATE USER writer PASSWORD 'x'", "CREATE USER nobody PASSWORD 'x'",
        "GRANT CREATE ON DATABASE tsdb TO owner",
    )  # fmt: skip
    with guarded.connect("owner", "x") as connection:
        connection.execute("CREATE TABLE cpu (time timestamptz, host text TAG, usage float8)")
        connection.execute("CREATE TABLE secret (time timestamptz, v float8)")
        connection.execute("INSERT INTO cpu VALUES ('2026-01-01', 'a', 1)")
        connection.execute("INSERT INTO secret VALUES ('2026-01-01', 1)")
        connection.execute("GRANT SELECT ON cpu TO readers")
        connection.execute("GRANT INSERT, UPDATE, DELETE ON cpu TO writer")
    return guarded


@pytest.fixture
def reader(filled: Running) -> Iterator[psycopg.Connection]:
    with filled.connect("reader", "x") as connection:
        yield connection


@pytest.fixture
def writer(filled: Running) -> Iterator[psycopg.Connection]:
    with filled.connect("writer", "x") as connection:
        yield connection


@pytest.fixture
def nobody(filled: Running) -> Iterator[psycopg.Connection]:
    with filled.connect("nobody", "x") as connection:
        yield connection


def test_a_reader_reads_what_was_granted_and_nothing_else(reader: psycopg.Connection, denied: Denied) -> None:
    assert reader.execute("SELECT count(*) FROM cpu").fetchone() == (1,)
    for statement in (
        "SELECT * FROM secret",
        "SELECT 1 FROM secret LIMIT 0",
        "SELECT (SELECT max(v) FROM secret)",
        "WITH s AS (SELECT * FROM secret) SELECT 1",
        "SELECT * FROM cpu WHERE EXISTS (SELECT 1 FROM secret)",
        "SELECT usage FROM cpu UNION ALL SELECT v FROM secret",
        "EXPLAIN SELECT * FROM secret",
        "CREATE TABLE copy AS SELECT * FROM secret",
    ):
        assert "secret" in denied(reader, statement) or "schema public" in denied(reader, statement), statement
    for statement in ("INSERT INTO cpu VALUES (now(), 'b', 1)", "UPDATE cpu SET usage = 2", "DELETE FROM cpu",
                      "TRUNCATE cpu"):  # fmt: skip
        assert denied(reader, statement) == "permission denied for table cpu"
    assert reader.execute("SELECT count(*), max(usage) FROM cpu").fetchone() == (1, 1.0)


def test_a_prepared_statement_is_checked_when_it_runs(filled: Running, denied: Denied) -> None:
    with filled.connect("nobody", "x") as connection:
        connection.execute("PREPARE p AS SELECT count(*) FROM cpu")
        assert denied(connection, "EXECUTE p") == "permission denied for table cpu"
        filled.run("GRANT SELECT ON cpu TO nobody")
        assert connection.execute("EXECUTE p").fetchone() == (1,)
        filled.run("REVOKE SELECT ON cpu FROM nobody")
        assert denied(connection, "EXECUTE p") == "permission denied for table cpu"
        connection.execute("BEGIN")
        assert denied(connection, "DECLARE c CURSOR FOR SELECT * FROM cpu") == "permission denied for table cpu"
        connection.execute("ROLLBACK")


def test_a_writer_needs_select_only_where_it_reads(writer: psycopg.Connection, denied: Denied) -> None:
    writer.execute("INSERT INTO cpu VALUES ('2026-02-01', 'w', 7)")
    refused = "permission denied for table cpu"
    assert denied(writer, "INSERT INTO cpu VALUES (now(), 'w', 7) RETURNING usage") == refused
    assert denied(writer, "INSERT INTO cpu SELECT * FROM cpu") == refused
    assert denied(writer, "UPDATE cpu SET usage = 1 WHERE host = 'w'") == refused
    assert denied(writer, "UPDATE cpu SET usage = usage + 1") == refused
    assert denied(writer, "DELETE FROM cpu WHERE host = 'w'") == refused
    assert denied(writer, "DELETE FROM cpu WHERE time < '2020-01-01'") == refused
    assert denied(writer, "TRUNCATE cpu") == refused
    assert denied(writer, "INSERT INTO cpu SELECT time, 'x', v FROM secret") == "permission denied for table secret"


def test_copy_needs_what_insert_and_select_need(reader: psycopg.Connection, writer: psycopg.Connection) -> None:
    with reader.cursor() as cursor, cursor.copy("COPY cpu TO STDOUT") as copy:
        assert len(list(copy)) >= 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.cursor().copy("COPY cpu FROM STDIN") as copy:
        copy.write("2026-03-01\tc\t1\n")
    with writer.cursor().copy("COPY cpu FROM STDIN") as copy:
        copy.write("2026-03-01\tc\t1\n")
    for statement in ("COPY cpu TO STDOUT", "COPY (SELECT * FROM cpu) TO STDOUT"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), writer.cursor().copy(statement.encode()) as copy:
            list(copy)
    for statement in ("COPY cpu TO '/tmp/x'", "COPY cpu FROM PROGRAM 'id'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(statement.encode())


def test_sessions_of_others_are_neither_read_nor_ended(filled: Running, denied: Denied) -> None:
    with filled.connect() as boss, filled.connect("owner", "x") as other, filled.connect("nobody", "x") as connection:
        other.execute("SELECT 'a secret of owner'")
        query = f"SELECT query FROM pg_stat_activity WHERE pid = {other.info.backend_pid}"
        assert connection.execute(query.encode()).fetchone() == ("<insufficient privilege>",)
        assert boss.execute(query.encode()).fetchone() == ("SELECT 'a secret of owner'",)
        for pid, who in ((boss.info.backend_pid, "must be a superuser"), (other.info.backend_pid, "must be a member")):
            assert denied(connection, f"SELECT pg_terminate_backend({pid})").startswith(who)
            assert denied(connection, f"SELECT pg_cancel_backend({pid})").startswith(who)
        filled.run("GRANT pg_signal_backend TO nobody")
        assert connection.execute(f"SELECT pg_cancel_backend({other.info.backend_pid})".encode()).fetchone() == (True,)
        assert denied(connection, f"SELECT pg_cancel_backend({boss.info.backend_pid})").startswith(
            "must be a superuser"
        )
        filled.run("REVOKE pg_signal_backend FROM nobody")


def test_set_config_is_no_way_round(filled: Running, denied: Denied) -> None:
    with filled.connect("nobody", "x") as connection:
        assert (
            denied(connection, "SELECT set_config('role', 'owner', false)") == 'permission denied to set role "owner"'
        )
        assert denied(connection, "SELECT set_config('session_authorization', 'tsdb', false)").startswith("permission")
        for name in ("role", "session_authorization", "is_superuser"):
            with pytest.raises(psycopg.Error):
                connection.execute(f"SET {name} = 'tsdb'".encode())
        assert connection.execute("SELECT current_user").fetchone() == ("nobody",)


def test_writing_everything_needs_no_select(filled: Running) -> None:
    filled.run("CREATE TABLE scratch (time timestamptz, v float8)", "GRANT UPDATE, DELETE, INSERT ON scratch TO writer")
    with filled.connect("writer", "x") as connection:
        connection.execute("INSERT INTO scratch VALUES ('2026-01-01', 1)")
        connection.execute("UPDATE scratch SET v = 2")
        assert connection.execute("DELETE FROM scratch").rowcount == 1
    filled.run("DROP TABLE scratch")


def test_only_the_owner_changes_a_table(writer: psycopg.Connection, denied: Denied) -> None:
    for statement in (
        "ALTER TABLE cpu ADD COLUMN x float8", "ALTER TABLE cpu RENAME TO mine", "DROP TABLE cpu",
        "ALTER TABLE cpu SET (retention = '1 d')", "ALTER TABLE cpu OWNER TO writer",
    ):  # fmt: skip
        assert denied(writer, statement) == "must be owner of table cpu"
    assert denied(writer, "GRANT SELECT ON cpu TO writer") == "permission denied for table cpu"
    assert denied(writer, "CREATE TABLE mine (time timestamptz, v float8)") == "permission denied for schema public"
    assert denied(writer, "CREATE DATABASE mine") == "permission denied to create database"
    assert denied(writer, "DROP DATABASE postgres") == "must be owner of database postgres"
    assert denied(writer, "CHECKPOINT") == "must be superuser to do CHECKPOINT"


def test_what_one_creates_is_ones_own(filled: Running, denied: Denied) -> None:
    filled.run("CREATE USER maker PASSWORD 'x' CREATEDB")
    with filled.connect("maker", "x") as connection:
        connection.execute("CREATE DATABASE workshop")
    with filled.connect("maker", "x", dbname="workshop") as connection:
        connection.execute("CREATE TABLE t (time timestamptz, v float8)")
        connection.execute("INSERT INTO t VALUES (now(), 1)")
        connection.execute("ALTER TABLE t ADD COLUMN w float8")
    with filled.connect("writer", "x", dbname="workshop") as connection:
        assert denied(connection, "SELECT * FROM t") == "permission denied for table t"
    with filled.connect() as connection:
        with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
            connection.execute("DROP ROLE maker")
        assert "owner of database workshop" in str(caught.value.diag.message_detail)
    with filled.connect(dbname="workshop") as connection:
        connection.execute("REASSIGN OWNED BY maker TO writer")
        connection.execute("DROP ROLE maker")
    with filled.connect("writer", "x", dbname="workshop") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    filled.run("DROP DATABASE workshop")


def test_privileges_are_granted_on_all_tables_at_once_and_to_everybody(filled: Running, nobody: psycopg.Connection,
                                                                      denied: Denied) -> None:  # fmt: skip
    filled.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    assert nobody.execute("SELECT count(*) FROM secret").fetchone() == (1,)
    filled.run("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")
    assert denied(nobody, "SELECT count(*) FROM secret") == "permission denied for table secret"


def test_the_predefined_roles_read_and_write_everything(filled: Running, denied: Denied) -> None:
    filled.run("CREATE USER grafana PASSWORD 'x' IN ROLE pg_read_all_data")
    with filled.connect("grafana", "x") as connection:
        assert connection.execute("SELECT count(*) FROM secret").fetchone() == (1,)
        assert denied(connection, "INSERT INTO secret VALUES (now(), 1)") == "permission denied for table secret"
    filled.run("GRANT pg_write_all_data TO grafana")
    with filled.connect("grafana", "x") as connection:
        connection.execute("INSERT INTO secret VALUES (now(), 2)")
        assert denied(connection, "DROP TABLE secret") == "must be owner of table secret"
    with filled.connect() as connection, pytest.raises(psycopg.errors.ReservedName):
        connection.execute("DROP ROLE pg_read_all_data")


def test_set_role_changes_whose_privileges_hold(filled: Running, denied: Denied) -> None:
    filled.run("CREATE USER member PASSWORD 'x' NOINHERIT", "GRANT readers TO member")
    with filled.connect("member", "x") as connection:
        assert denied(connection, "SELECT * FROM cpu") == "permission denied for table cpu"
        connection.execute("SET ROLE readers")
        assert connection.execute("SELECT current_user, session_user").fetchone() == ("readers", "member")
        connection.execute("SELECT * FROM cpu")
        connection.execute("RESET ROLE")
        assert denied(connection, "SELECT * FROM cpu") == "permission denied for table cpu"
        assert denied(connection, "SET ROLE writer") == 'permission denied to set role "writer"'
        assert denied(connection, "SET ROLE tsdb") == 'permission denied to set role "tsdb"'
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("SET ROLE nonesuch")
        connection.execute("BEGIN")
        connection.execute("SET LOCAL ROLE readers")
        connection.execute("SELECT * FROM cpu")
        connection.execute("COMMIT")
        assert connection.execute("SELECT current_user").fetchone() == ("member",)
        connection.execute("BEGIN")
        connection.execute("SET ROLE readers")
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT current_user").fetchone() == ("member",)


def test_a_superuser_may_be_anybody_and_come_back(filled: Running, denied: Denied) -> None:
    with filled.connect() as connection:
        assert connection.info.parameter_status("is_superuser") == "on"
        connection.execute("SET SESSION AUTHORIZATION writer")
        assert connection.info.parameter_status("is_superuser") == "off"
        assert connection.info.parameter_status("session_authorization") == "writer"
        assert connection.execute("SELECT current_user, session_user").fetchone() == ("writer", "writer")
        assert denied(connection, "SELECT * FROM secret") == "permission denied for table secret"
        connection.execute("RESET ALL")
        assert denied(connection, "SELECT * FROM secret") == "permission denied for table secret"
        connection.execute("SET SESSION AUTHORIZATION DEFAULT")
        connection.execute("SELECT * FROM secret")
        connection.execute("SET ROLE writer")
        connection.execute("DISCARD ALL")
        assert connection.execute("SELECT current_user").fetchone() == ("tsdb",)
    with filled.connect("writer", "x") as connection:
        assert denied(connection, "SET SESSION AUTHORIZATION tsdb") == "permission denied to set session authorization"
        connection.execute("SET SESSION AUTHORIZATION writer")


def test_createrole_reaches_everybody_but_superusers(filled: Running, denied: Denied) -> None:
    filled.run("CREATE USER chief PASSWORD 'x' CREATEROLE")
    with filled.connect("chief", "x") as connection:
        connection.execute("CREATE USER hired PASSWORD 'y'")
        connection.execute("ALTER USER hired PASSWORD 'z'")
        connection.execute("GRANT readers TO hired")
        connection.execute("ALTER USER hired RENAME TO renamed")
        connection.execute("DROP USER renamed")
        superuser = "must be superuser to"
        assert denied(connection, "CREATE USER x SUPERUSER") == f"{superuser} create superusers"
        assert denied(connection, "ALTER USER tsdb PASSWORD 'mine'").startswith(f"{superuser} alter superuser roles")
        assert denied(connection, "ALTER USER chief SUPERUSER").startswith(f"{superuser} alter superuser roles")
        assert denied(connection, "DROP USER tsdb") == f"{superuser} drop superusers"
        assert denied(connection, "GRANT tsdb TO chief") == f"{superuser} alter superusers"
        assert denied(connection, "GRANT pg_write_all_data TO chief").startswith("must have admin option")
        assert denied(connection, "CREATE TOKEN t FOR tsdb").startswith(superuser)
        with pytest.raises(psycopg.errors.ObjectInUse):
            connection.execute("DROP USER chief")
    with filled.connect("writer", "x") as connection:
        assert denied(connection, "CREATE USER x") == "permission denied to create role"
        assert denied(connection, "DROP USER reader") == "permission denied to drop role"
        assert denied(connection, "ALTER USER reader PASSWORD 'x'") == "permission denied"
        assert denied(connection, "GRANT owner TO writer") == 'must have admin option on role "owner"'
        connection.execute("ALTER USER writer PASSWORD 'x'")


@pytest.mark.parametrize(
    ("statement", "sqlstate", "message"),
    [
        ("CREATE ROLE readers", "42710", 'role "readers" already exists'),
        ("DROP ROLE nonesuch", "42704", 'role "nonesuch" does not exist'),
        ("ALTER ROLE nonesuch LOGIN", "42704", 'role "nonesuch" does not exist'),
        ("GRANT SELECT ON nonesuch TO readers", "42P01", 'relation "nonesuch" does not exist'),
        ("GRANT SELECT ON cpu TO nonesuch", "42704", 'role "nonesuch" does not exist'),
        ("GRANT nonesuch TO readers", "42704", 'role "nonesuch" does not exist'),
        ("GRANT CONNECT ON cpu TO readers", "0LP01", "invalid privilege type CONNECT for relation"),
        ("GRANT SELECT ON DATABASE tsdb TO readers", "0LP01", "invalid privilege type SELECT for database"),
        ("GRANT FROBNICATE ON cpu TO readers", "42601", 'unrecognized privilege type "frobnicate"'),
        ("GRANT CONNECT ON DATABASE nonesuch TO readers", "3D000", 'database "nonesuch" does not exist'),
        ("GRANT USAGE ON SCHEMA nonesuch TO readers", "3F000", 'schema "nonesuch" does not exist'),
        ("CREATE ROLE public", "42939", 'role name "public" is reserved'),
        ("CREATE ROLE pg_mine", "42939", 'role name "pg_mine" is reserved'),
        ("CREATE ROLE x LOGIN NOLOGIN", "42601", "conflicting or redundant options"),
        ("CREATE ROLE x FROBNICATE", "42601", 'unrecognized role option "frobnicate"'),
        ("GRANT reader TO readers", "0LP01", 'role "reader" is a member of role "readers"'),
        ("GRANT readers TO readers", "0LP01", 'role "readers" is a member of role "readers"'),
    ],
)
def test_errors_are_postgresqls(
    filled: Running, statement: str, sqlstate: str, message: str, postgres_roles: psycopg.Connection | None
) -> None:
    for connection in filter(None, (postgres_roles,)):
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement.encode())
        assert (caught.value.sqlstate, caught.value.diag.message_primary) == (sqlstate, message), "PostgreSQL"
    with filled.connect() as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    assert (caught.value.sqlstate, caught.value.diag.message_primary) == (sqlstate, message)


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT (usage) ON cpu TO readers", "GRANT SELECT ON cpu TO readers WITH GRANT OPTION",
        "GRANT EXECUTE ON FUNCTION f() TO readers",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO readers",
    ],
)  # fmt: skip
def test_what_is_not_kept_is_refused(filled: Running, statement: str) -> None:
    with filled.connect() as connection, pytest.raises(psycopg.errors.FeatureNotSupported):
        connection.execute(statement.encode())


def test_a_view_is_read_with_its_owners_privileges(filled: Running, denied: Denied) -> None:
    with filled.connect("owner", "x") as connection:
        connection.execute("CREATE VIEW shown AS SELECT count(*) AS n FROM secret")
        connection.execute("GRANT SELECT ON shown TO reader")
    with filled.connect("reader", "x") as connection:
        assert connection.execute("SELECT n FROM shown").fetchone() is not None
        assert denied(connection, "SELECT * FROM secret") == "permission denied for table secret"
        assert denied(connection, "DROP VIEW shown") == "must be owner of view shown"
    with filled.connect("writer", "x") as connection:
        assert denied(connection, "SELECT n FROM shown") == "permission denied for view shown"
    filled.run("DROP VIEW shown")


def test_a_schema_is_used_by_those_who_may(filled: Running, denied: Denied) -> None:
    filled.run("CREATE SCHEMA closed", "CREATE TABLE closed.t (time timestamptz, v float8)",
               "GRANT SELECT ON closed.t TO reader")  # fmt: skip
    with filled.connect("reader", "x") as connection:
        assert denied(connection, "SELECT * FROM closed.t") == "permission denied for schema closed"
        filled.run("GRANT USAGE ON SCHEMA closed TO reader")
        assert connection.execute("SELECT * FROM closed.t").fetchall() == []
        connection.execute("SET search_path = closed")
        assert connection.execute("SELECT * FROM t").fetchall() == []
        assert denied(connection, "CREATE TABLE closed.u (time timestamptz)") == "permission denied for schema closed"
        assert denied(connection, "CREATE SCHEMA mine") == "permission denied for database tsdb"
        filled.run("GRANT CREATE ON SCHEMA closed TO reader")
        connection.execute("CREATE TABLE closed.u (time timestamptz, v float8)")
        connection.execute("GRANT SELECT ON u TO PUBLIC")
    filled.run("DROP SCHEMA closed CASCADE")


def test_a_database_may_be_made_for_somebody_else(filled: Running, denied: Denied) -> None:
    filled.run("CREATE DATABASE given WITH OWNER = owner ENCODING 'UTF8'", "CREATE USER founder PASSWORD 'x' CREATEDB")
    catalog = filled.server.node.catalog
    assert catalog.roles.name_of(catalog.find("given").owner) == "owner"
    with filled.connect("founder", "x") as connection:
        assert denied(connection, "CREATE DATABASE other OWNER owner") == 'must be member of role "owner"'
        connection.execute("CREATE DATABASE own OWNER founder")
    with filled.connect() as connection, pytest.raises(psycopg.errors.UndefinedObject):
        connection.execute("CREATE DATABASE other OWNER nonesuch")


def test_the_hardening_scripts_of_postgresql_run(filled: Running) -> None:
    filled.run(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "REVOKE ALL ON DATABASE tsdb FROM PUBLIC",
        "GRANT CONNECT ON DATABASE tsdb TO PUBLIC", "GRANT USAGE ON SCHEMA public TO readers",
        "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO readers",
        "GRANT ALL PRIVILEGES ON DATABASE tsdb TO owner", "GRANT ALL ON TABLE public.cpu TO owner",
        "CREATE GROUP team", "ALTER GROUP team ADD USER reader, writer", "ALTER GROUP team DROP USER reader, writer",
        "DROP GROUP IF EXISTS team, nonesuch", "GRANT CREATE ON SCHEMA public TO owner",
    )  # fmt: skip


def test_a_rename_keeps_owner_and_grants(filled: Running) -> None:
    before = filled.server.node.catalog
    assert before.find("tsdb").find("cpu").grants is not None
    filled.run("ALTER TABLE cpu RENAME TO gpu", "ALTER TABLE gpu RENAME TO cpu")
    assert filled.server.node.catalog.find("tsdb").find("cpu").grants == before.find("tsdb").find("cpu").grants
    filled.run("ALTER TABLE secret RENAME TO hidden", "ALTER TABLE hidden RENAME TO secret")
    assert filled.server.node.catalog.find("tsdb").find("secret").owner == before.find("tsdb").find("secret").owner
