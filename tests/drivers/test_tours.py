"""Each driver's tour on PostgreSQL 15 and here: the same lines, but for those that ``DIFFERENT`` explains."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import DEBIAN, cluster
from tests.fixtures.server import Process

pytestmark = pytest.mark.drivers

PROGRAMS = Path(__file__).with_name("programs")
JDBC = Path("/usr/share/java/postgresql.jar")
GO_PACKAGES = Path("/usr/share/gocode/src/github.com")
ODBC = ("/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so", "/usr/lib/aarch64-linux-gnu/odbc/psqlodbcw.so")

# (tour, line) → why tsdb's line is another one.
DIFFERENT: dict[tuple[str, str], str] = {
    ("jdbc", "schemas"): "the schema of our own system views is listed",
    ("odbc", "procedures"): "the functions of time series are in the schema public, where PostgreSQL has none",
}

Command = Callable[[int], list[str]]


@pytest.fixture(scope="module")
def postgres_port() -> Iterator[int]:
    if not (DEBIAN / "initdb").exists():
        pytest.skip("PostgreSQL 15 (package postgresql) is not installed")
    with cluster(DEBIAN) as address:
        settings = dict(pair.split("=", 1) for pair in address.split())
        subprocess.run(
            [str(DEBIAN / "createdb"), "-h", settings["host"], "-p", settings["port"], "-U", settings["user"], "tsdb"],
            check=True,
            cwd="/tmp",
        )
        yield int(settings["port"])


@pytest.fixture
def tsdb_port(start: Callable[..., Process]) -> int:
    return start().pg_port


def _needs(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} (package {package}) is not installed")
    return found


def _build(command: list[str], **variables: str) -> None:
    made = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]


def jdbc(directory: Path) -> Command:
    compiler, java = _needs("javac", "default-jdk-headless"), _needs("java", "default-jre-headless")
    if not JDBC.exists():
        pytest.skip("the JDBC driver (package libpostgresql-jdbc-java) is not installed")
    _build([compiler, "-cp", str(JDBC), "-d", str(directory), str(PROGRAMS / "Tour.java")])
    classes = f"{directory}:{JDBC}"
    return lambda port: [
        java, "-Duser.timezone=UTC", "-cp", classes, "Tour", f"jdbc:postgresql://127.0.0.1:{port}/tsdb"
    ]  # fmt: skip


def node(directory: Path) -> Command:
    program, npm = _needs("node", "nodejs"), _needs("npm", "npm")
    for name in ("package.json", "tour.js"):
        shutil.copy(PROGRAMS / "node" / name, directory)
    _build([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(directory)])
    return lambda port: [program, str(directory / "tour.js"), f"postgresql://tsdb@127.0.0.1:{port}/tsdb"]


def _go(directory: Path, package: str, needed: str, packaged: str) -> Command:
    compiler = _needs("go", "golang-go")
    if not (GO_PACKAGES / needed).exists():
        pytest.skip(f"{needed} (package {packaged}) is not installed")
    variables = {
        "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES.parents[1]),
        # Of all tests: what takes long is to compile what comes with the language.
        "GOCACHE": str(directory.parent / "go-cache"),
        "GOFLAGS": "", "GOTOOLCHAIN": "local",
    }  # fmt: skip
    target = directory / package
    _build([compiler, "build", "-o", str(target), str(PROGRAMS / "go" / package / "main.go")], **variables)
    return lambda port: [str(target), f"postgresql://tsdb@127.0.0.1:{port}/tsdb"]


def lib_pq(directory: Path) -> Command:
    return _go(directory, "pq", "lib/pq", "golang-github-lib-pq-dev")


def pgx(directory: Path) -> Command:
    return _go(directory, "pgx", "jackc/pgx", "golang-github-jackc-pgx-v4-dev")


def odbc(directory: Path) -> Command:
    driver = next((path for path in ODBC if Path(path).exists()), None)
    if driver is None:
        pytest.skip("psqlODBC (package odbc-postgresql) is not installed")
    return lambda port: [sys.executable, str(PROGRAMS / "odbc_tour.py"), driver, str(port)]


def duckdb_scanner(directory: Path) -> Command:
    """In a directory of its own: the scanner is for another DuckDB than ours."""
    wanted = ("duckdb==1.5.5", "duckdb-extension-postgres-scanner==1.5.5")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _build([*pip, "--target", str(directory), *wanted])
    python = ["env", f"PYTHONPATH={directory}", sys.executable]
    return lambda port: [*python, str(PROGRAMS / "duckdb_tour.py"), str(port)]


def _findings(command: list[str]) -> dict[str, str]:
    variables = {**os.environ, "TZ": "UTC"}
    variables.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    pairs = (line.partition(": ") for line in done.stdout.splitlines())
    return {what: found for what, _, found in pairs}


@pytest.mark.parametrize("tour", [jdbc, node, lib_pq, pgx, odbc, duckdb_scanner])
def test_a_driver_finds_what_it_finds_on_postgresql(
    tour: Callable[[Path], Command], postgres_port: int, tsdb_port: int, tmp_path: Path
) -> None:
    command = tour(tmp_path)
    theirs, ours = _findings(command(postgres_port)), _findings(command(tsdb_port))
    assert len(theirs) > 8, theirs
    assert list(ours) == list(theirs)
    wrong = {
        what: (found, ours[what])
        for what, found in theirs.items()
        if found != ours[what] and (tour.__name__, what) not in DIFFERENT
    }
    assert wrong == {}
    settled = [line for name, line in DIFFERENT if name == tour.__name__ and theirs.get(line) == ours.get(line)]
    assert settled == [], "these are equal now: take them out of DIFFERENT"
