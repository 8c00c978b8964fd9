"""The psql of the distribution, as a person uses it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.session.conftest import Server

pytestmark = [
    pytest.mark.psql,
    pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not on the PATH (package postgresql-client)"),
]

ENDLESS = (
    "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE x * y = 0"
)
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PSQL_HISTORY": "/dev/null"}


def psql(server: Server, text: str, *options: str, **environment: str) -> str:
    """What psql prints, on both streams, for a script."""
    done = subprocess.run(
        ["psql", "-X", *options, server.dsn()],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT | environment,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_table_is_made_filled_and_read(server: Server) -> None:
    printed = psql(
        server,
        "CREATE TABLE p (time timestamptz, host text TAG, v float8);\n"
        "INSERT INTO p VALUES ('2026-01-01', 'a', 1.5), ('2026-01-02', 'b', NULL);\n"
        "SELECT * FROM p ORDER BY time;\n"
        "\\x\nSELECT v, host FROM p WHERE host = 'a';\n"
        "DELETE FROM p WHERE host = 'a'; SELECT count(*) FROM p;\n"
        "DROP TABLE p;\n",
    )
    assert printed == (
        "CREATE TABLE\nINSERT 0 2\n"
        "          time          | host |  v  \n"
        "------------------------+------+-----\n"
        " 2026-01-01 00:00:00+00 | a    | 1.5\n"
        " 2026-01-02 00:00:00+00 | b    |    \n"
        "(2 rows)\n\n"
        "Expanded display is on.\n-[ RECORD 1 ]\nv    | 1.5\nhost | a\n\n"
        "DELETE 1\n-[ RECORD 1 ]\ncount | 1\n\nDROP TABLE\n"
    )


def test_an_error_has_its_caret(server: Server) -> None:
    assert psql(server, "", "-c", "SELECT 1,\n       nope FROM (SELECT 1 AS a) AS t") == (
        'ERROR:  column "nope" does not exist\nLINE 2:        nope FROM (SELECT 1 AS a) AS t\n               ^\n'
    )
    assert psql(server, "SELECT 1 FRM t;\n") == (
        'ERROR:  syntax error at or near "t"\nLINE 1: SELECT 1 FRM t;\n                     ^\n'
    )


def test_several_statements_in_one_string_give_several_results(server: Server) -> None:
    printed = psql(server, "", "-At", "-c", "SELECT 1; SELECT 2; SET application_name = 'x'; SHOW application_name")
    assert printed == "1\n2\nSET\nx\n"


def test_timing_and_notices(server: Server) -> None:
    printed = psql(server, "\\timing on\nDROP TABLE IF EXISTS nothing;\nSELECT 1;\n")
    assert 'NOTICE:  table "nothing" does not exist, skipping' in printed
    assert printed.count("Time: ") == 2


def test_ctrl_c_cancels_a_long_query(server: Server) -> None:
    running = subprocess.Popen(
        ["psql", "-X", "-c", ENDLESS, server.dsn()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        for _ in range(200):
            if any(s.query == ENDLESS for s in server.sessions.listing()):
                break
            time.sleep(0.05)
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        printed, _ = running.communicate(timeout=20)
    finally:
        running.kill()
        running.wait()
    assert "ERROR:  canceling statement due to user request" in printed


def test_fetch_count_reads_by_a_cursor(server: Server) -> None:
    printed = psql(server, "\\set FETCH_COUNT 3\nSELECT g FROM generate_series(1, 8) AS t(g);\n", "-At")
    assert printed == "".join(f"{i}\n" for i in range(1, 9))


def test_on_error_rollback_uses_savepoints(server: Server) -> None:
    printed = psql(server, "\\set ON_ERROR_ROLLBACK on\nBEGIN;\nSELECT 1;\nSELECT nope;\nSELECT 2;\nCOMMIT;\n", "-At")
    assert printed.startswith("BEGIN\n1\n2\nCOMMIT\n")


def test_settings_come_from_the_environment(server: Server) -> None:
    printed = psql(
        server,
        "SHOW timezone; SHOW statement_timeout",
        "-At",
        PGTZ="Europe/Berlin",
        PGOPTIONS="-c statement_timeout=7s",
    )
    assert printed == "Europe/Berlin\n7s\n"


def test_an_unknown_database_is_refused(server: Server) -> None:
    done = subprocess.run(
        ["psql", "-X", "-c", "SELECT 1", server.dsn("nope")],
        capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'FATAL:  database "nope" does not exist' in done.stderr
