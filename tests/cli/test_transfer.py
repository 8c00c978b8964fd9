"""tsdb import and export: every format in and out, errors by file, and nothing twice after an interruption."""

from __future__ import annotations

import gzip
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.dataset as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.auth.conftest import running
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.ports import free_port
from tests.fixtures.server import Start
from tests.lines.conftest import rows
from tsdb.cli.app import app
from tsdb.cli.transfer import send
from tsdb.cli.transfer.pieces import LINES_BYTES
from tsdb.errors import ConfigurationError, StartupError
from tsdb.server import Server

HOUR = 3_600_000_000_000
START = 1_767_225_600_000_000_000


class Tsdb:
    """The command line against one server: what it prints, and its exit code."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._sql = f"--sql={server.pg_url}"
        self._in = [f"--http={server.http_url}", f"--journal={folder / 'journals'}"]

    def run(self, command: str, *words: str, text: bytes = b"", code: int = 0) -> str:
        more = self._in if command == "import" else []
        done = CliRunner().invoke(app, [command, self._sql, *more, *words], input=text)
        assert done.exit_code == code, (done.output, done.exception)
        # The program's main prints that one.
        return done.output + (str(done.exception) if isinstance(done.exception, StartupError) else "")


@pytest.fixture
def tsdb(server: Server, tmp_path: Path) -> Tsdb:
    return Tsdb(server, tmp_path)


def refused(*words: str) -> str:
    """What is said of flags that are wrong, with which no server is asked: the program ends with 2."""
    done = CliRunner().invoke(app, [*words, "--sql=postgresql://127.0.0.1:1/none"])
    assert isinstance(done.exception, ConfigurationError), (done.output, done.exception)
    return str(done.exception)


def lines(count: int, first: int = 0) -> str:
    return "".join(
        f'cpu,host=h\\ {i % 3} usage={i}.5,n={i}i,ok=t,s="a \\"{i}\\"\nb" {START + i * 1_000_000}\n'
        for i in range(first, first + count)
    )


def test_line_protocol_from_files_globs_directories_and_standard_input(
    server: Server, tsdb: Tsdb, tmp_path: Path
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a1.lp").write_text(lines(1000) + "# tail")
    (tmp_path / "a2.lp").write_text(lines(1000, 1000))
    (tmp_path / "deep" / "er" / "b.txt.gz").write_bytes(gzip.compress(lines(500, 2000).encode()))
    with pa.CompressedOutputStream(str(tmp_path / "deep" / "c.lp.zst"), "zstd") as packed:
        packed.write(lines(500, 2500).encode())
    (tmp_path / "deep" / "ignored.json").write_text("{}")
    printed = tsdb.run("import", str(tmp_path / "a*.lp"), str(tmp_path / "deep"))
    assert "rows from 4 files in" in printed
    tsdb.run("import", "-", "--format=lp", text=lines(10, 3000).encode())
    assert rows(server, "SELECT count(*), sum(n), count(DISTINCT host), min(s) FROM cpu") == [
        (3010, sum(range(3010)), 3, 'a "0"\nb')
    ]
    assert not list((tmp_path / "journals").iterdir())


def test_what_is_refused_is_named_by_file_and_line(server: Server, tsdb: Tsdb, tmp_path: Path) -> None:
    (tmp_path / "a.lp").write_text("m f=1 1\nbad\nm f=2 2\n" + 'm f="x" 3\n')
    (tmp_path / "b.csv").write_text("time,v\n2026-01-01,1\n2026-01-02,x\n")
    (tmp_path / "c.lp").write_text("m f=9 9\n")
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE b (time timestamptz, v int8)")
    printed = tsdb.run("import", str(tmp_path), code=1)
    assert f"{tmp_path}/a.lp:2: missing fields" in printed
    assert f"{tmp_path}/a.lp:4: field type conflict" in printed
    assert f"{tmp_path}/a.lp: 2 rows, 2 lines refused" in printed
    assert f"{tmp_path}/b.csv: 0 rows, failed: line 3: invalid input syntax for type bigint" in printed
    assert "3 rows from 3 files, 1 of them failed, 2 lines refused" in printed
    assert rows(server, "SELECT f FROM m ORDER BY time") == [(1.0,), (2.0,), (9.0,)]
    assert "there is no file" in repr(CliRunner().invoke(app, ["import", str(tmp_path / "nope.lp")]).exception)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("2026-01-03,c,x", "invalid input syntax for type bigint"),
        ("2026-01-03,c", "CSV parse error: {}: Expected 3 columns, got 2"),
    ],
)
def test_what_is_wrong_with_a_row_of_csv_has_the_line_of_its_file(
    server: Server, tsdb: Tsdb, tmp_path: Path, bad: str, why: str
) -> None:
    text = f'time,s,v\n2026-01-01,"a\n""b""\n\nc",1\n\n2026-01-02,b,2\n{bad}\n'
    with gzip.open(tmp_path / "points.csv.gz", "wt") as packed:
        packed.write(text)
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE points (time timestamptz, s text, v int8)")
    said = why.format("line 8") if "{}" in why else f"line 8: {why}"
    assert f"failed: {said}" in tsdb.run("import", str(tmp_path / "points.csv.gz"), code=1)
    # What came from standard input cannot be read again.
    said = why.format("row 3") if "{}" in why else f"row 3: {why}"
    words = ["-", "--format=csv", "--table=points"]
    assert f"failed: {said}" in tsdb.run("import", *words, text=text.encode(), code=1)


def test_csv_and_parquet_make_their_table_with_a_key(server: Server, tsdb: Tsdb, tmp_path: Path) -> None:
    text = "time,host,amount,note\n" + "".join(
        f'2026-01-01T00:{i // 60:02d}:{i % 60:02d}Z,h{i % 4},{i}.25,"a, ""{i}"""\n' for i in range(300)
    )
    with gzip.open(tmp_path / "orders.csv.gz", "wt") as packed:
        packed.write(text + "2026-01-02T00:00:00Z,h0,,\n")
    tsdb.run("import", "--tags=host", str(tmp_path))
    assert rows(server, "SELECT count(*), count(amount), sum(amount), max(note) FROM orders") == [
        (301, 300, 44925.0, 'a, "99"')
    ]
    key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass"
    assert rows(server, key) == [('PRIMARY KEY (host, "time")',)]
    table = pa.table({
        "time": pa.array([START // 10**6 + i for i in range(1000)]),
        "v": [float(i) if i % 2 else None for i in range(1000)],
        "k": pa.array([f"k{i % 7}" for i in range(1000)]).dictionary_encode(),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "points.parquet", row_group_size=300)
    tsdb.run("import", "--precision=ms", "--table=moved", "--tags=k", str(tmp_path / "points.parquet"))
    assert rows(server, "SELECT count(*), count(v), min(time)::date::text, count(DISTINCT k) FROM moved") == [
        (1000, 500, "2026-01-01", 7)
    ]


def _written(folder: Path, suffix: str, table: dict[str, list[object]]) -> str:
    """A file "points" of these columns."""
    path = folder / f"points.{suffix}"
    if suffix == "csv":
        pcsv.write_csv(pa.table(table), path)
    else:
        pq.write_table(pa.table(table), path)
    return str(path)


SUFFIXES = pytest.mark.parametrize("suffix", ["csv", "parquet"])


@SUFFIXES
@pytest.mark.parametrize(
    ("made", "columns", "flags", "why"),
    [
        ("time timestamptz, v int8", ["v"], [], 'no column "time" for the time of table "points", and --time renames'),
        ("time timestamptz, v int8", ["time", "v"], ["--time=tim"], 'no column "tim" for the time, which --time names'),
        ("time timestamptz, v int8", ["ts", "v"], ["--time=ts"], 'no column "time" for the time of table "points"'),
        ("v int8, ts timestamp", ["time", "v"], [], 'no column "ts" for the time of table "points"'),
        ("a timestamp, ts timestamp, v int8, PRIMARY KEY (v, ts)", ["a", "v"], [], 'no column "ts" for the time of'),
        ("v int8 PRIMARY KEY, n text", ["v"], ["--time=tim"], 'no column "tim" for the time, which --time names'),
        ("", ["v"], [], 'no column "time" for the time: name the one that is it by --time; its columns are v'),
        ("", ["v", "ts"], ["--tags=v"], 'no column "time" for the time: name the one that is it by --time'),
        ("", ["v", "time"], ["--time=tim", "--tags=v"], 'no column "tim" for the time, which --time names'),
    ],
)
def test_a_file_without_the_time_is_refused(
    server: Server, tsdb: Tsdb, tmp_path: Path, suffix: str, made: str, columns: list[str], flags: list[str], why: str
) -> None:
    path = _written(tmp_path, suffix, {name: [1 if name == "v" else "2026-01-01 00:00:00"] for name in columns})
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        if made:
            connection.execute(f"CREATE TABLE points ({made})".encode())
        printed = tsdb.run("import", *flags, path, code=1)
        assert f"{path}: 0 rows, failed: there is {why}" in printed
        there = connection.execute("SELECT to_regclass('points') IS NOT NULL").fetchall()
        assert there == [(bool(made),)]
        assert not made or connection.execute("SELECT * FROM points").fetchall() == []


@SUFFIXES
@pytest.mark.parametrize(
    ("made", "columns", "flags"),
    [
        ("ts timestamptz, v int8", {"ts": "2026-01-01 00:00:00"}, []),
        ("ts timestamptz, v int8, PRIMARY KEY (v, ts)", {"ts": "2026-01-01 00:00:00"}, ["--time=ts", "--tags=v"]),
        ("time timestamptz, v int8", {"time_ns": 1_767_225_600_000_000_000}, []),
        ("v int8 PRIMARY KEY, ts timestamptz", {}, ["--tags=v"]),
        ("v int8", {}, []),
        ("", {"ts": "2026-01-01 00:00:00"}, ["--time=ts"]),
    ],
)
def test_the_time_is_that_of_the_table_and_a_reference_table_has_none(
    server: Server, tsdb: Tsdb, tmp_path: Path, suffix: str, made: str, columns: dict[str, object], flags: list[str]
) -> None:
    path = _written(tmp_path, suffix, {"v": [1], **{name: [value] for name, value in columns.items()}})
    if made:
        with psycopg.connect(server.pg_url, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE points ({made})".encode())
    tsdb.run("import", *flags, path)
    time = "min(time)" if "time_ns" in columns else "min(ts)" if "ts" in columns else "NULL"
    expected = "2026-01-01" if columns else None
    assert rows(server, f"SELECT count(*), {time}::date::text FROM points") == [(1, expected)]


@SUFFIXES
def test_tags_that_a_table_has_not_as_its_key(server: Server, tsdb: Tsdb, tmp_path: Path, suffix: str) -> None:
    path = _written(tmp_path, suffix, {"time": ["2026-01-01"], "host": ["a"], "dc": ["x"], "v": [1]})
    columns = "time timestamptz, host text, dc text TAG, v int8"
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE keyed ({columns}, PRIMARY KEY (dc, time))".encode())
        connection.execute(f"CREATE TABLE keyless ({columns})".encode())
    printed = tsdb.run("import", "--table=keyed", "--tags=dc,host", path, code=1)
    assert f'{path}: 0 rows, failed: "host" of --tags is not in the key of table "keyed", which is time, dc' in printed
    tsdb.run("import", "--table=keyed", "--tags=dc", path)
    printed = tsdb.run("import", "--table=keyless", "--tags=host", path)
    assert f'{path}: table "keyless" was there without a key: --tags gives it none, and no rows merge' in printed
    assert "without a key" not in tsdb.run("import", "--table=keyless", path)
    assert rows(server, "SELECT (SELECT count(*) FROM keyed), (SELECT count(*) FROM keyless)") == [(1, 2)]
    tsdb.run("import", "-", "--format=lp", text=b"lines,host=a,dc=x v=1i 1\n")
    tsdb.run("import", "--table=lines", "--tags=host,dc", path)
    assert rows(server, "SELECT count(*) FROM lines") == [(2,)]


def test_csv_into_a_table_keeps_texts_that_look_like_numbers(server: Server, tsdb: Tsdb, tmp_path: Path) -> None:
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE zips (time timestamptz, zip text, n numeric, ok text, f float8)")
    row = ("007", "1.2345678901234567890123", "true", 1.5)
    path = tmp_path / "zips.csv"
    path.write_text("time,zip,n,ok,f\n" + ",".join(("2026-01-01T00:00:00Z", *map(str, row))) + "\n")
    tsdb.run("import", str(path))
    assert rows(server, "SELECT zip, n::text, ok, f FROM zips") == [row]


def test_values_of_csv_are_what_the_table_says_not_what_the_first_rows_look_like(
    server: Server, tsdb: Tsdb, tmp_path: Path
) -> None:
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE later (time timestamptz, f float8, note text, ok boolean)")
    count = 2 * LINES_BYTES // 40
    early = "".join(f"2026-01-01T00:00:{i % 60:02d}Z,{i},,t{' ' * 12}\n" for i in range(count)).replace(" ", "")
    assert len(early) > LINES_BYTES
    last = '2026-01-02 00:00:00.1234569Z,12.5,"x",f\n'
    (tmp_path / "later.csv").write_text("time,f,note,ok\n" + early + last)
    tsdb.run("import", str(tmp_path / "later.csv"))
    assert rows(server, "SELECT count(*), sum(f), count(note), count(*) FILTER (WHERE ok) FROM later") == [
        (count + 1, count * (count - 1) / 2 + 12.5, 1, count)
    ]
    assert rows(server, "SELECT f FROM later WHERE time = '2026-01-02 00:00:00.123456Z'") == [(12.5,)]
    (tmp_path / "later.csv").write_text("time,f,note,ok\n" + early + "2026-01-02,1,,t\n2026-01-02,1,,perhaps\n")
    printed = tsdb.run("import", str(tmp_path / "later.csv"), code=1)
    assert f'failed: line {count + 3}: invalid input syntax for type boolean: "perhaps"; column ok' in printed


def test_a_partitioned_directory_comes_back_with_the_columns_of_its_path(
    server: Server, tsdb: Tsdb, tmp_path: Path
) -> None:
    text = "".join(f"m,k={'a=1' if i % 2 else 'b/ä'} v={i}i {START + i * HOUR}\n" for i in range(30)).replace(
        "a=1", "a\\=1"
    )
    tsdb.run("import", "-", "--format=lp", text=text.encode())
    tsdb.run("export", "m", "--partition=day,k", f"--output={tmp_path}/parts")
    tsdb.run("import", "--table=back", "--tags=k", str(tmp_path / "parts"))
    assert rows(server, "SELECT count(*), sum(v), min(k), max(k) FROM back") == [(30, 435, "a=1", "b/ä")]
    same = "SELECT count(*) FROM (SELECT time, k, v FROM back EXCEPT SELECT time, k, v FROM m) AS other"
    assert rows(server, same) == [(0,)]
    names = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'back' ORDER BY 1"
    assert rows(server, names) == [("k",), ("time",), ("v",)]
    pq.write_table(pa.table({"time": [START], "v": [1]}), tmp_path / "plain.parquet")
    printed = tsdb.run("import", "--table=back", "--tags=k", str(tmp_path / "plain.parquet"), code=1)
    assert 'failed: there is no column "k" for the tag' in printed


@pytest.mark.parametrize("packed", [gzip.compress, lambda text: pa.compress(text, "zstd", asbytes=True)])
def test_lines_go_to_the_database_of_the_url_and_standard_input_may_be_packed(
    server: Server, tsdb: Tsdb, packed: Callable[[bytes], bytes]
) -> None:
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
    url = server.pg_url.removesuffix("/tsdb") + "/elsewhere"
    tsdb.run("import", f"--sql={url}", "--format=lp", "-", text=packed(b"m f=1 1\nm f=2 2\n"))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT sum(f) FROM m").fetchall() == [(3.0,)]


def test_every_format_out_is_what_was_there(server: Server, tsdb: Tsdb, tmp_path: Path) -> None:
    special = 'cpu,host=h\\,\\ \\=1,dc=x usage=1e300,s="\\\\ \\"q\\"" 1\n'
    special += 'cpu,host=b n=5i 2000\ncpu dc2="",ok=f 1001\n'
    tsdb.run("import", "-", "--format=lp", text=(lines(2000) + special).encode())
    tsdb.run("export", "cpu", f"--output={tmp_path}/cpu.lp.gz")
    tsdb.run("import", "--database=again", f"{tmp_path}/cpu.lp.gz")
    query = "SELECT time_ns, host, dc, usage, n, ok, s, dc2 FROM cpu ORDER BY time_ns, host"
    assert rows(server, query, "again") == rows(server, query)
    tsdb.run("export", "cpu", f"--output={tmp_path}/cpu.csv.zst")
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE from_csv (LIKE cpu)")
    tsdb.run("import", "--table=from_csv", f"{tmp_path}/cpu.csv.zst")
    tsdb.run("export", "cpu", f"--output={tmp_path}/cpu.parquet")
    tsdb.run("import", "--table=from_parquet", f"{tmp_path}/cpu.parquet")
    shown = "SELECT time, host, dc, usage, n, ok, s, dc2 FROM {} ORDER BY 1, 2, 5"
    expected = rows(server, shown.format("cpu"))
    assert rows(server, shown.format("from_csv")) == rows(server, shown.format("from_parquet")) == expected
    assert pq.read_schema(tmp_path / "cpu.parquet").field("time").type == pa.timestamp("us", "UTC")


def test_unsigned_nan_and_texts_like_null_stay_what_they_are(server: Server, tsdb: Tsdb, tmp_path: Path) -> None:
    text = b'm,t=NA u=18446744073709551615u,s="null" 1\nm,t=b f=1,s="NaN" 1000\nm,t=c s="" 2000\n'
    tsdb.run("import", "-", "--format=lp", text=text)
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("UPDATE m SET f = 'NaN' WHERE t = 'NA'")
    tsdb.run("export", "m", f"--output={tmp_path}/m.lp")
    tsdb.run("import", "--database=again", f"{tmp_path}/m.lp")
    query = "SELECT time_ns, t, u, s FROM m ORDER BY 1"
    assert rows(server, query, "again") == rows(server, query)
    for name in ("m.parquet", "m.csv"):
        tsdb.run("export", "--query", "SELECT time, t, f, s FROM m", f"--output={tmp_path}/{name}")
        table = name.replace(".", "_")
        tsdb.run("import", f"--table={table}", f"{tmp_path}/{name}")
        shown = "SELECT t, f::text, s FROM {} ORDER BY 1"
        assert rows(server, shown.format(table)) == rows(server, shown.format("m"))


@pytest.mark.parametrize("tag", ["", "a\\", "a\nother f=1 1"])
def test_a_tag_that_lines_cannot_say_is_not_written_as_another(server: Server, tsdb: Tsdb, tag: str) -> None:
    tsdb.run("import", "-", "--format=lp", text=b"m,t=a f=1 1\n")
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("INSERT INTO m (t, f) VALUES (%s, 2)", [tag])
    printed = tsdb.run("export", "m", "--format=lp", code=1)
    assert "other f=1 1" not in printed.splitlines()
    assert tag in tsdb.run("export", "m", "--format=csv")


@pytest.mark.parametrize("name", ["m.csv", "m.csv.gz", "m.parquet", "m.lp"])
def test_an_export_that_fails_leaves_what_was_there(server: Server, tsdb: Tsdb, tmp_path: Path, name: str) -> None:
    tsdb.run("import", "-", "--format=lp", text=b"m,t=a f=1 1\n")
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("INSERT INTO m (t, f) VALUES ('', 2)")
    wanted = ["m"] if name == "m.lp" else ["--query=SELECT 1 / (f - 2)::int FROM m ORDER BY f"]
    folder = tmp_path / "out"
    folder.mkdir()
    tsdb.run("export", *wanted, f"--output={folder / name}", code=1)
    assert not list(folder.iterdir())
    (folder / name).write_bytes(b"before")
    tsdb.run("export", *wanted, f"--output={folder / name}", code=1)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [(name, b"before")]
    tsdb.run("export", "--query=SELECT 1", "--format=csv", f"--output={folder / name}")
    assert [path.name for path in folder.iterdir()] == [name]


def test_an_import_counts_points_and_not_newlines(tsdb: Tsdb) -> None:
    text = b'# f=1\n\nm s="a\nb",t="c d\n" 1\n  \r\nm s="e" 2\r\n m f=1 3'
    assert "3 rows from 1 file" in tsdb.run("import", "-", "--format=lp", text=text)
    text = b'm s="a\n\nb" 4\nm f=bad 5\nm s="a\nb" 6'
    printed = tsdb.run("import", "-", "--format=lp", text=text, code=1)
    assert "2 rows from 1 file, 1 line refused" in printed
    assert "-:4: " in printed


def test_what_comes_from_standard_input_without_a_name_is_new_each_time(
    server: Server, tsdb: Tsdb, tmp_path: Path
) -> None:
    more = ["--format=csv", "--table=events"]
    head = b"time,a\n" + b"".join(b"2026-01-01,%d\n" % i for i in range(300_000))
    tsdb.run("import", "-", *more, text=head + b"2026-01-01,not a number\n", code=1)
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        connection.execute("TRUNCATE events")
    tsdb.run("import", "-", *more, text=head)
    assert rows(server, "SELECT count(*), count(DISTINCT a) FROM events") == [(300_000, 300_000)]
    assert not list((tmp_path / "journals").glob("*"))


def test_an_export_has_a_range_a_query_and_partitions(server: Server, tsdb: Tsdb, tmp_path: Path) -> None:
    text = "".join(f"m,k=k{i % 2} v={i}i {START + i * HOUR}\n" for i in range(48))
    tsdb.run("import", "-", "--format=lp", text=text.encode())
    printed = tsdb.run("export", "m", "--from=2026-01-01 22:00", "--to=2026-01-02 02:00", "--format=lp")
    assert [line.split()[1] for line in printed.splitlines()[:4]] == ["v=22i", "v=23i", "v=24i", "v=25i"]
    assert "count\n48\n" in tsdb.run("export", "--query=SELECT count(*) FROM m").replace("\r", "")
    tsdb.run("export", "m", "--partition=day,k", f"--output={tmp_path}/parts")
    parts = sorted(str(path.parent.relative_to(tmp_path)) for path in (tmp_path / "parts").rglob("*.parquet"))
    assert parts == [f"parts/day=2026-01-0{day}/k=k{k}" for day in (1, 2) for k in (0, 1)]
    read = pd.dataset(tmp_path / "parts", partitioning="hive").to_table()
    assert sorted(read.column("v").to_pylist()) == list(range(48))
    tsdb.run("export", "--query=SELECT * FROM m WHERE v > 99", f"--output={tmp_path}/none.parquet")
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_partition_goes_into_an_empty_directory(tsdb: Tsdb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tsdb.run("import", "-", "--format=lp", text=b"m,k=a v=1i 1\nm,k=b v=2i 2\n")
    parts, file = tmp_path / "parts", tmp_path / "file"
    parts.mkdir()
    tsdb.run("export", "m", "--partition=k", f"--output={parts}")
    before = {path: path.read_bytes() for path in parts.rglob("*.parquet")}
    assert len(before) == 2
    printed = tsdb.run("export", "m", "--partition=k", f"--output={parts}", code=1)
    assert f"the directory {parts} is not empty: delete what is in it, or name another --output" in printed
    assert before == {path: path.read_bytes() for path in parts.rglob("*.parquet")}
    file.write_text("before")
    printed = tsdb.run("export", "m", "--partition=k", f"--output={file}", code=1)
    assert f"{file} is a file, and --partition writes a directory: name another --output" in printed
    assert f"cannot write {file}/in" in tsdb.run("export", "m", "--partition=k", f"--output={file}/in", code=1)
    assert file.read_text() == "before"
    monkeypatch.chdir(tmp_path)
    asked = "--partition writes a directory: name it by --output"
    assert asked in refused("export", "m", "--partition=k", "--format=parquet")
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--query=SELECT 1", "--from=2026-01-01"], "--from and --to bound a table's rows: say it in the --query"),
        (["--query=SELECT 1", "--to=2026-01-01"], "--from and --to bound a table's rows: say it in the --query"),
        (["--query=SELECT 1 AS a; SELECT 2"], "--query has to be one statement"),
        (["--query= ; "], "--query has to be one statement"),
    ],
)
def test_flags_of_an_export_that_say_nothing_are_refused(flags: list[str], why: str) -> None:
    assert why in refused("export", *flags)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@pytest.mark.parametrize(
    "query", ["SELECT ';' AS a;", "SELECT ';' AS a -- end;", "/* one; */ SELECT ';' AS a; ; -- end"]
)
def test_a_query_may_end_in_semicolons_and_comments(tsdb: Tsdb, tmp_path: Path, query: str, format_: str) -> None:
    tsdb.run("export", f"--query={query}", f"--output={tmp_path}/found.{format_}")
    read = pcsv.read_csv if format_ == "csv" else pq.read_table
    assert read(f"{tmp_path}/found.{format_}").to_pydict() == {"a": [";"]}
    assert "unterminated quoted string" in tsdb.run("export", "--query=SELECT 'a", code=1)


def _big(path: Path, count: int) -> None:
    with open(path, "w") as file:
        for first in range(0, count, 10_000):
            numbers = range(first, first + 10_000)
            file.write("".join(f'events a={i}i,s="{"x" * 40}" {START + i * 10**8}\n' for i in numbers))


def _import(port: int, path: Path) -> subprocess.Popen[str]:
    words = [f"--http=http://127.0.0.1:{port}", f"--journal={path.parent / 'journals'}", str(path)]
    return subprocess.Popen(
        [sys.executable, "-m", "tsdb", "import", *words],
        cwd=ROOT, env=clean_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_killed_and_started_again_nothing_is_lost_or_doubled(start: Start, tmp_path: Path) -> None:
    count = 300_000
    path = tmp_path / "events.lp"
    _big(path, count)
    port = str(free_port())
    process = start(TSDB_HTTP_PORT=port)
    with process.connect() as connection:
        connection.execute("CREATE TABLE events (time timestamptz, a int8, s text)")
    # First the importer dies, then the server, then both go on to the end.
    for _ in range(3):
        importer = _import(process.http_port, path)
        end = time.monotonic() + 20
        while not list((tmp_path / "journals").glob("*[0-9a-f]")) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        importer.send_signal(signal.SIGKILL)
        importer.communicate()
    importer = _import(process.http_port, path)
    time.sleep(0.8)
    process.kill()
    process = start(TSDB_HTTP_PORT=port)
    printed, failed = importer.communicate(timeout=120)
    assert importer.returncode == 0, failed
    assert "from 1 file" in printed
    with process.connect() as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT a), sum(a) FROM events").fetchall()
    assert found == [(count, count, count * (count - 1) // 2)]
    assert not list((tmp_path / "journals").iterdir())


def test_an_interrupted_import_says_that_it_goes_on(server: Server, tmp_path: Path) -> None:
    _big(tmp_path / "events.lp", 1_500_000)
    port = int(server.http_url.rstrip("/").rpartition(":")[2])
    importer = _import(port, tmp_path / "events.lp")
    end = time.monotonic() + 60
    while not list((tmp_path / "journals").glob("*[0-9a-f]")) and time.monotonic() < end:
        time.sleep(0.01)
    importer.send_signal(signal.SIGINT)
    _, said = importer.communicate(timeout=60)
    assert importer.returncode == 130, said
    assert "events.lp: interrupted after " in said
    assert "; started again it goes on there" in said


@pytest.mark.parametrize("name", ["points.csv", "points.lp"])
def test_what_waiting_does_not_change_ends_an_import_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "points.csv").write_text("time,v\n2026-01-01,1\n")
    (tmp_path / "points.lp").write_text("m v=1 1\n")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with running(tmp_path / "data", loopback_password="true") as guarded:
        tsdb = Tsdb(guarded.server, tmp_path)
        started = time.monotonic()
        told = tsdb.run("import", str(tmp_path / name), "--user", "tsdb", code=1)
        assert time.monotonic() - started < 20
    assert "password authentication failed" in told or "authorization failed" in told


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (psycopg.OperationalError("connection failed: connection to server … failed: Connection refused"), True),
        (psycopg.OperationalError("connection failed: FATAL:  sorry, too many clients already"), True),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "x"'), False),
        (psycopg.OperationalError('connection failed: FATAL:  database "x" does not exist'), False),
        (psycopg.OperationalError("failed to resolve host 'nowhere': [Errno -2] Name or service not known"), False),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.DiskFull("no room"), True),
        (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), False),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (ssl.SSLCertVerificationError("self-signed certificate"), False),
        (socket.gaierror(-2, "Name or service not known"), False),
    ],
)
def test_what_passes_is_waited_for(error: Exception, passes: bool) -> None:
    assert send.passes(error) is passes


def test_a_server_that_is_away_is_waited_for_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([ConnectionRefusedError("refused"), None])

    def attempt() -> int:
        error = next(answers)
        if error is not None:
            raise error
        return 7

    assert send.patiently(attempt) == 7
    assert "waiting for the server, for 300 s at most: refused" in capsys.readouterr().err
    with pytest.raises(StartupError, match="does not answer: refused"):
        send.patiently(lambda: (_ for _ in ()).throw(ConnectionRefusedError("refused")), 0)
