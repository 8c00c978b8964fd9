"""Session and utility statements, as clients write them."""

from __future__ import annotations

import pytest

from tsdb.errors import FeatureNotSupported, SqlSyntaxError
from tsdb.session.utility import (
    Accepted,
    Begin,
    CloseCursor,
    Command,
    Commit,
    Deallocate,
    Declare,
    Discard,
    ExecuteStatement,
    Fetch,
    Listen,
    Notify,
    PrepareStatement,
    ReleaseSavepoint,
    Reset,
    Rollback,
    RollbackTo,
    Set,
    SetRole,
    SetSavepoint,
    SetSessionAuthorization,
    Show,
    Unlisten,
    command,
)
from tsdb.sql.statement import Fragment, Utility, parse


def read(text: str) -> Command:
    statement = parse(Fragment(text))
    assert isinstance(statement, Utility)
    return command(statement)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BEGIN", Begin("BEGIN")),
        ("begin work read only", Begin("BEGIN", (("transaction_read_only", "on"),))),
        (
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE, NOT DEFERRABLE",
            Begin(
                "START TRANSACTION",
                (
                    ("transaction_isolation", "repeatable read"),
                    ("transaction_read_only", "off"),
                    ("transaction_deferrable", "off"),
                ),
            ),
        ),
        ("end transaction", Commit()),
        ("COMMIT AND CHAIN", Commit(chain=True)),
        ("COMMIT AND NO CHAIN", Commit()),
        ("abort", Rollback()),
        ("SAVEPOINT _EXEC_SVP_1", SetSavepoint("_exec_svp_1")),
        ("RELEASE _pg3_1", ReleaseSavepoint("_pg3_1")),
        ('ROLLBACK TO SAVEPOINT "Sp"', RollbackTo("Sp")),
        ("SET extra_float_digits = 3", Set((("extra_float_digits", "3"),))),
        ("set client_encoding to 'utf-8'", Set((("client_encoding", "utf-8"),))),
        ('SET SESSION search_path TO "$user", public', Set((("search_path", '"$user", public'),))),
        ("SET LOCAL work_mem TO DEFAULT", Set((("work_mem", None),), local=True)),
        ("SET TIME ZONE -7", Set((("TimeZone", "-7"),))),
        ("SET TIME ZONE DEFAULT", Set((("TimeZone", None),))),
        ("SET TIME ZONE INTERVAL '-05:30' HOUR TO MINUTE", Set((("TimeZone", "<-05:30>+05:30"),))),
        ("SET NAMES 'UTF8'", Set((("client_encoding", "UTF8"),))),
        ("SET my.var = 'x'", Set((("my.var", "x"),))),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            Set((("default_transaction_read_only", "on"),)),
        ),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Set((("transaction_isolation", "serializable"),), local=True)),
        ("RESET ALL", Reset(None)),
        ("reset time zone", Reset("TimeZone")),
        ("SHOW TRANSACTION ISOLATION LEVEL", Show("transaction_isolation")),
        ('show "lc_collate"', Show("lc_collate")),
        ("show all", Show(None)),
        ("DISCARD ALL", Discard("all")),
        ("EXECUTE p (1, f(2, 3))", ExecuteStatement("p", "1, f(2, 3)")),
        ("DEALLOCATE PREPARE ALL", Deallocate(None)),
        ('FETCH 100 in "SQL_CUR01"', Fetch("SQL_CUR01", 100)),
        ("FETCH FORWARD ALL FROM c", Fetch("c", None)),
        ("FETCH c", Fetch("c", 1)),
        ("FETCH NEXT FROM c", Fetch("c", 1)),
        ("MOVE FORWARD 5 c", Fetch("c", 5, move=True)),
        ("FETCH BACKWARD 2 FROM c", Fetch("c", 2, direction="backward")),
        ("FETCH PRIOR c", Fetch("c", 1, direction="backward")),
        ("FETCH LAST FROM c", Fetch("c", -1, direction="absolute")),
        ("FETCH ABSOLUTE -3 c", Fetch("c", -3, direction="absolute")),
        ("MOVE RELATIVE 0 IN c", Fetch("c", 0, move=True, direction="relative")),
        ("FETCH -2 FROM c", Fetch("c", -2)),
        ("FETCH next", Fetch("next", 1)),
        ("CLOSE ALL", CloseCursor(None)),
        ("SET ROLE none", SetRole(None)),
        ("SET LOCAL ROLE 'r'", SetRole("r", local=True)),
        ("SET SESSION AUTHORIZATION DEFAULT", SetSessionAuthorization(None)),
        ("RESET SESSION AUTHORIZATION", SetSessionAuthorization(None, tag="RESET")),
        ("UNLISTEN *", Unlisten(None)),
        ('LISTEN "Ch"', Listen("Ch")),
        ("notify c, 'p'", Notify("c", "p")),
        ("LOCK TABLE a IN SHARE MODE", Accepted("LOCK TABLE", block=True)),
    ],
)
def test_statements_are_read_as_they_are_meant(text: str, expected: Command) -> None:
    assert read(text) == expected


def test_cursors_and_prepared_statements_keep_their_queries() -> None:
    declared = read('DECLARE "c" NO SCROLL CURSOR WITH HOLD FOR SELECT $1')
    assert isinstance(declared, Declare)
    assert (declared.name, declared.hold, declared.body.text) == ("c", True, "SELECT $1")
    prepared = read("PREPARE p (int, text) AS SELECT $1, $2")
    assert isinstance(prepared, PrepareStatement)
    assert (prepared.types, prepared.body.text) == ("int, text", "SELECT $1, $2")


@pytest.mark.parametrize("text", ["BEGIN nonsense", "SET x", "SHOW", "FETCH", "DISCARD", "SET a = ,", "COMMIT AND"])
def test_what_does_not_fit_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SqlSyntaxError, match="syntax error at"):
        read(text)


@pytest.mark.parametrize("text", ["LOAD 'x.so'", "DO $$ $$", "PREPARE TRANSACTION 'x'"])
def test_what_is_not_supported_says_so(text: str) -> None:
    with pytest.raises(FeatureNotSupported):
        read(text)
