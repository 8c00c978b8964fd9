"""The command line as its users meet it: help, version, refusals of one line, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.environment import clean_environment
from tsdb import __version__
from tsdb.cli import metrics
from tsdb.cli.sql import statements
from tsdb.config import TABLE


def tsdb(*arguments: str, flags: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-m", "tsdb", *arguments],
        env={**clean_environment(), "COLUMNS": "300", "TERMINAL_WIDTH": "300", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version() -> None:
    done = tsdb("--version")
    assert (done.returncode, done.stdout) == (0, f"tsdb {__version__}\n")


def test_without_arguments_it_explains_itself() -> None:
    done = tsdb()
    assert done.returncode == 0
    for command in ("start", "demo", "sql", "settings"):
        assert command in done.stdout


def test_help_of_start_names_every_setting() -> None:
    done = tsdb("start", "--help")
    assert done.returncode == 0
    for entry in TABLE:
        assert entry.flag in done.stdout
        assert entry.default is None or f"[{entry.text(entry.default)}]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("start", "--prot", "1"), "--prot"),
        (("start", "--pg-port", "x"), "--pg-port"),
        (("start", "--pg-port"), "--pg-port"),
        (("start", "surplus"), "surplus"),
        (("begin",), "begin"),
        (("start", "--host", "0.0.0.0"), "--insecure"),
        (("start", "--host", "192.168.1.1"), "--insecure"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(arguments: tuple[str, ...], text: str) -> None:
    done = tsdb(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert text in done.stderr


def test_an_unknown_variable_is_refused() -> None:
    done = tsdb("start", TSDB_HTTPPORT="1")
    assert done.returncode == 2
    assert "TSDB_HTTPPORT" in done.stderr


def test_python_without_asserts_is_refused() -> None:
    done = tsdb("--version", flags=("-O",))
    assert done.returncode == 2
    assert "-O" in done.stderr


def test_sql_without_a_server_is_one_clear_line() -> None:
    done = tsdb("sql", "postgresql://tsdb:secret@127.0.0.1:1/tsdb", "-c", "SELECT 1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Connection refused" in done.stderr
    assert "secret" not in done.stderr


def test_statements_end_at_lines_with_a_semicolon() -> None:
    lines = ["SELECT 1,\n", "  2;\n", "SELECT 3; SELECT 4;\n", "SELECT 5\n"]
    assert list(statements(lines)) == ["SELECT 1,\n  2;\n", "SELECT 3; SELECT 4;\n", "SELECT 5\n"]


def test_ctrl_c_at_the_prompt_drops_what_is_begun() -> None:
    assert list(statements(["SELECT 1,\n", None, "SELECT 2;\n"])) == ["SELECT 2;\n"]


def test_generated_metrics_are_the_same_for_the_same_seed() -> None:
    def bodies(seed: int) -> list[bytes]:
        return list(metrics.line_protocol(seed, hosts=3, end_ns=1_800_000_000_000_000_000, minutes=2))

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)
    assert sum(body.count(b"\n") for body in bodies(1)) == 2 * 6 * metrics.points_per_tick(3)


def test_settings_lists_the_table(tmp_path: Path) -> None:
    done = tsdb("settings", "--markdown")
    assert done.returncode == 0
    assert done.stdout.count("\n") == len(TABLE) + 2


def test_the_table_for_people_has_every_setting_and_meaning() -> None:
    done = tsdb("settings", COLUMNS="2000")
    assert (done.returncode, done.stderr) == (0, "")
    for entry in TABLE:
        assert entry.name in done.stdout
        assert " ".join(entry.meaning.split()) in " ".join(done.stdout.split())
