"""psql's backslash commands, each on PostgreSQL 15 and here.

Where both servers hold the same objects the output is the same to the letter (``SAME``); where PostgreSQL has things of
its own (its version, its catalogs, its users) the titles of the columns are (``TITLES``).
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.postgres import DEBIAN, cluster
from tests.fixtures.server import Start

pytestmark = pytest.mark.psql

CREATE = (
    """CREATE TABLE tour (time timestamptz NOT NULL, host text NOT NULL, cpu float8 DEFAULT 1.5, n int8,
       num numeric(12,3), label varchar(20), arr text[], PRIMARY KEY (time, host))""",
    "COMMENT ON TABLE tour IS 'what psql shows'",
    "COMMENT ON COLUMN tour.cpu IS 'in percent'",
    "CREATE VIEW tour_view AS SELECT time, host, cpu FROM tour",
    """INSERT INTO tour (time, host, cpu, n) VALUES ('2026-01-01 00:00:00+00', 'a', 1.25, 7),
       ('2026-01-01 00:00:01+00', 'b', NULL, 8)""",
)
SAME = (
    r"\d", r"\d tour", r"\d+ tour", r"\dt", r"\dt tour", r"\dv", r"\di", r"\dm", r"\ds", r"\dE", r"\dP", r"\d nothing*",
    r"\dT", r"\dD", r"\dy", r"\dew", r"\des", r"\det", r"\deu", r"\dRp", r"\dRs", r"\ddp", r"\dX",
    r"\dp tour", r"\z tour", r"\dd", r"\db", r"\dF", r"\dc public.*", r"\encoding", r"\dAf nothing",
    r"\dconfig nothing", r"SELECT * FROM tour \gdesc", r"SELECT 1 AS a, 'x' AS b \gx",
    r"SELECT 5 AS n \gset \\ \echo :n",
    r"SELECT 'SELECT 7 AS seven' \gexec", r"SELECT host, n, cpu FROM tour ORDER BY 1 \crosstabview",
    r"\copy (SELECT * FROM tour ORDER BY time) TO STDOUT WITH (FORMAT csv, HEADER)",
    r"\x \\ SELECT * FROM tour ORDER BY time",
    r"\pset null '-' \\ SELECT cpu FROM tour ORDER BY time", r"\t \\ \a \\ SELECT host FROM tour ORDER BY time",
    r"\set FETCH_COUNT 1 \\ SELECT host FROM tour ORDER BY time", r"\html \\ SELECT host FROM tour ORDER BY time",
    r"SELECT nothing FROM tour", r"SELECT 1; SELECT 2",
    r"\if true \\ \echo yes \\ \endif",
)  # fmt: skip
TITLES = (
    r"\l", r"\l+", r"\du", r"\du+", r"\dg", r"\dt+", r"\di+", r"\dv+", r"\dn+", r"\dS", r"\da", r"\do", r"\dC", r"\dO",
    r"\df pg_*", r"\dfS+ version", r"\dTS", r"\dconfig work_mem", r"\drds", r"\dx", r"\dFd", r"\dFp", r"\dFt", r"\dA",
    r"\df", r"\dAc", r"\dAo", r"\dAp", r"\dn", r"\dL", r"\dLS", r"\db+", r"\dcS",
)  # fmt: skip


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    if not (DEBIAN / "initdb").exists():
        pytest.skip("PostgreSQL 15 (package postgresql) is not installed")
    with cluster(DEBIAN) as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE DATABASE tsdb")
        address = address.replace("dbname=postgres", "dbname=tsdb")
        with psycopg.connect(address, autocommit=True) as connection:
            for statement in CREATE:
                connection.execute(statement)
        yield address


@pytest.fixture
def ours(start: Start) -> str:
    server = start()
    with server.connect() as connection:
        for statement in CREATE:
            connection.execute(statement)
    return f"host=127.0.0.1 port={server.pg_port} user=tsdb dbname=tsdb"


def psql(address: str, script: str) -> str:
    program = shutil.which("psql")
    if program is None:
        pytest.skip("psql (package postgresql-client) is not installed")
    lines = script.replace(r" \\ ", "\n") + "\n"
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "10", "PAGER": "", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [program, "-X", address], input=lines, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def titles(text: str) -> list[str]:
    """The title of each table and the line of its columns' names."""
    lines = text.splitlines()
    rules = [k for k, line in enumerate(lines) if re.fullmatch(r"[-+]{3,}", line)]
    return [re.sub(r"\s+", " ", lines[j]).strip() for k in rules for j in (k - 2, k - 1) if j >= 0]


def test_what_both_have_looks_the_same(theirs: str, ours: str) -> None:
    wrong = {}
    for command in SAME:
        expected, found = psql(theirs, command), psql(ours, command)
        if expected != found:
            wrong[command] = (expected, found)
    assert wrong == {}, "\n".join(f"{c}\n--- PostgreSQL\n{e}--- here\n{f}" for c, (e, f) in wrong.items())


def test_every_listing_has_postgresqls_columns(theirs: str, ours: str) -> None:
    wrong = {}
    for command in TITLES:
        expected, found = titles(psql(theirs, command)), titles(psql(ours, command))
        if expected != found:
            wrong[command] = (expected, found, psql(ours, command)[-300:])
    assert wrong == {}


class Terminal:
    """psql on a pseudo-terminal."""

    def __init__(self, address: str) -> None:
        program = shutil.which("psql")
        if program is None:
            pytest.skip("psql (package postgresql-client) is not installed")
        environment = {**os.environ, "TERM": "dumb", "PAGER": "cat", "LC_ALL": "C.UTF-8", "INPUTRC": "/dev/null"}
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [program, "-X", address], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, pattern: str, seconds: float = 20) -> str:
        """Read until a pattern is there; what was read since the last time."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65_536).decode(errors="replace")
        found, self.seen = self.seen, ""
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self.master)


@pytest.fixture
def terminal(ours: str) -> Iterator[Terminal]:
    made = Terminal(ours)
    made.until("tsdb=[>#] ")
    yield made
    made.close()


def test_tab_completes_tables_columns_and_settings(terminal: Terminal) -> None:
    terminal.type("SELECT * FROM tour_v\t")
    terminal.until("tour_view ")
    terminal.type("WHERE ho\t")
    terminal.until("host")
    terminal.type("\x15SET statement_t\t")
    terminal.until("statement_timeout ")
    terminal.type("\x15\\d tou\t\t\t")
    terminal.until("tour_view")
    terminal.type("\x15\\c ts\t")
    terminal.until("tsdb")
    terminal.type("\x15SELECT 41 + 1 AS answer;\r")
    terminal.until(r"42\s")


def test_watch_repeats_until_it_is_interrupted(terminal: Terminal) -> None:
    terminal.type("SELECT 'seen' AS w \\watch 0.2\r")
    terminal.until(r"seen[\s\S]*seen[\s\S]*seen")
    terminal.type("\x03")
    terminal.until("tsdb=[>#] ")


def test_ctrl_c_cancels_a_query_and_keeps_the_session(terminal: Terminal) -> None:
    terminal.type("SELECT pg_sleep(60);\r")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.until("canceling statement due to user request")
    terminal.type("SELECT 6 * 7 AS answer;\r")
    terminal.until(r"42\s")


def test_password_is_sent_as_a_verifier(terminal: Terminal) -> None:
    terminal.type("CREATE ROLE lisa LOGIN;\r")
    terminal.until("CREATE ROLE[\\s\\S]*tsdb=[>#] ")
    terminal.type("\\password lisa\r")
    terminal.until("Enter new password")
    terminal.type("secret word\r")
    terminal.until("Enter it again")
    terminal.type("secret word\r")
    terminal.until("tsdb=[>#] ")
    terminal.type("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = 'lisa';\r")
    terminal.until(r"lisa +\| t")


def test_copy_reads_and_writes_files_of_the_client(ours: str, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("time,host,cpu\n2026-02-01 00:00:00+00,copied,5\n2026-02-01 00:00:01+00,copied,6.5\n")
    target = tmp_path / "out.csv"
    text = psql(ours, rf"\copy tour (time, host, cpu) FROM '{source}' WITH (FORMAT csv, HEADER)")
    assert text == "COPY 2\n"
    text = psql(
        ours, rf"\copy (SELECT time, host, cpu FROM tour WHERE host = 'copied' ORDER BY time) TO '{target}' CSV HEADER"
    )
    assert text == "COPY 2\n"
    assert target.read_text() == source.read_text()
