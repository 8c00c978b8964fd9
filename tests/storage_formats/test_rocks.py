"""RocksDB as we set it up: what is synced stays, what is damaged is not opened, one process at a time."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rocksdict import Options, Rdict

from tsdb.errors import DataCorrupted, IoError, StartupError
from tsdb.storage import keys
from tsdb.storage.rocks import FORMAT_VERSION, LOCK_FILE, ROCKS_DIRECTORY, FatalStorageError, Rocks

FILLER = b"x" * 2000


def put(rocks: Rocks, family: str, entries: dict[bytes, bytes], sync: bool = False) -> None:
    batch = rocks.batch()
    for key, value in entries.items():
        batch.put(family, key, value)
    rocks.write(batch, sync)


def test_every_family_keeps_what_it_was_given(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        for family in keys.FAMILIES:
            put(rocks, family, {b"k": family.encode(), b"": b"empty key", b"v": b""})
    with Rocks.open(tmp_path) as rocks:
        for family in keys.FAMILIES:
            assert rocks.get_many(family, [b"k", b"none", b"", b"v"]) == [family.encode(), None, b"empty key", b""]
            assert rocks.get(family, b"none") is None
            assert rocks.get_many(family, []) == []


short = st.binary(max_size=3)


@given(st.sets(short, max_size=20), short, short | st.none(), st.tuples(short, short))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_scans_are_half_open_and_run_both_ways(
    tmp_path: Path, stored: set[bytes], low: bytes, high: bytes | None, deleted: tuple[bytes, bytes]
) -> None:
    with Rocks.open(tmp_path) as rocks:
        batch = rocks.batch()
        for key, _ in rocks.scan("ops"):
            batch.delete("ops", key)
        rocks.write(batch, sync=False)
        put(rocks, "ops", {key: b"v" + key for key in stored})
        batch = rocks.batch()
        if deleted[0] < deleted[1]:
            batch.delete_range("ops", *deleted)
        rocks.write(batch, sync=False)
        left = stored if deleted[0] >= deleted[1] else {k for k in stored if not deleted[0] <= k < deleted[1]}
        expected = [(k, b"v" + k) for k in sorted(left) if k >= low and (high is None or k < high)]
        assert list(rocks.scan("ops", low, high)) == expected
        assert list(rocks.scan("ops", low, high, reverse=True)) == expected[::-1]


def test_a_batch_over_families_knows_its_size(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        batch = rocks.batch()
        before = batch.size
        batch.put("ops", b"a", FILLER)
        batch.put("state", b"b", FILLER)
        assert before + 4000 < batch.size < before + 4100
        assert len(batch) == 2


def test_deleted_ops_free_their_space(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        value = os.urandom(100_000)
        put(rocks, "ops", {keys.op_key(1, i): value for i in range(200)})
        rocks.flush()
        assert rocks.bytes_on_disk("ops") > 19_000_000
        batch = rocks.batch()
        batch.delete_range("ops", keys.op_key(1, 0), keys.op_key(1, 199))
        rocks.write(batch, sync=True)
        rocks.flush()
        rocks.reclaim("ops", keys.op_key(0, 0), keys.op_key(2, 0))
        assert rocks.bytes_on_disk("ops") < 300_000
        assert [keys.unpack_op_key(key) for key, _ in rocks.scan("ops")] == [(1, 199)]


def test_large_column_values_are_counted_and_read_back(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        values = {keys.column_key(1, 2, i): os.urandom(50_000 if i % 2 else 50) for i in range(40)}
        put(rocks, "columns", values)
        rocks.flush()
        assert rocks.bytes_on_disk("columns") > 1_000_000
        assert list(rocks.scan("columns")) == sorted(values.items())
        assert rocks.get_many("columns", list(values)) == list(values.values())


def test_a_checkpoint_is_a_store_of_its_own(tmp_path: Path) -> None:
    with Rocks.open(tmp_path / "a") as rocks:
        put(rocks, "columns", {b"k": FILLER * 10})
        rocks.checkpoint(tmp_path / "b")
        put(rocks, "columns", {b"k": b"later"})
        with pytest.raises(IoError, match="checkpoint"):
            rocks.checkpoint(tmp_path / "b")
        with Rocks.open(tmp_path / "b") as copy:
            assert copy.get("columns", b"k") == FILLER * 10


WRITER = """
import os, sys
from pathlib import Path
from tsdb.storage.rocks import Rocks
rocks = Rocks.open(Path(sys.argv[1]))
for i in range(int(sys.argv[2])):
    batch = rocks.batch()
    batch.put("ops", b"%06d" % i, b"x" * 2000)
    rocks.write(batch, sync=True)
print("written", flush=True)
os.kill(os.getpid(), 9)
"""


def killed_writer(path: Path, count: int) -> Path:
    """A store whose process was killed after ``count`` synced writes; returns its WAL."""
    run = subprocess.run([sys.executable, "-c", WRITER, str(path), str(count)], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert run.stdout == "written\n"
    (wal,) = [p for p in (path / ROCKS_DIRECTORY).glob("*.log") if p.stat().st_size > 0]
    return wal


def test_synced_writes_survive_a_killed_process_and_a_torn_tail_costs_only_itself(tmp_path: Path) -> None:
    wal = killed_writer(tmp_path / "a", 500)
    shutil.copytree(tmp_path / "a", tmp_path / "torn")
    with Rocks.open(tmp_path / "a") as rocks:
        assert len(list(rocks.scan("ops"))) == 500
    torn = tmp_path / "torn" / ROCKS_DIRECTORY / wal.name
    os.truncate(torn, torn.stat().st_size - 1000)
    with Rocks.open(tmp_path / "torn") as rocks:
        found = [key for key, _ in rocks.scan("ops")]
        assert found == [b"%06d" % i for i in range(499)]


def test_a_flipped_byte_in_the_middle_of_the_wal_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    wal = killed_writer(tmp_path, 500)
    whole = wal.read_bytes()
    for position in (len(whole) // 3, len(whole) // 2):
        broken = bytearray(whole)
        broken[position] ^= 0x04
        wal.write_bytes(broken)
        for _ in range(2):
            with pytest.raises(StartupError, match="damaged and was not opened"):
                Rocks.open(tmp_path)
        gc.collect()
    wal.write_bytes(whole)
    with Rocks.open(tmp_path) as rocks:
        assert len(list(rocks.scan("ops"))) == 500


def test_a_second_process_is_told_who_has_the_directory(tmp_path: Path) -> None:
    with Rocks.open(tmp_path), pytest.raises(StartupError, match=rf"in use by another process \(pid {os.getpid()}\)"):
        Rocks.open(tmp_path)
    Rocks.open(tmp_path).close()


def test_a_closed_store_can_be_opened_again_while_old_batches_and_scans_live(tmp_path: Path) -> None:
    rocks = Rocks.open(tmp_path)
    batch = rocks.batch()
    batch.put("ops", b"k", b"v")
    rocks.write(batch, sync=True)
    put(rocks, "ops", {b"l": b"w"})
    scan = rocks.scan("ops")
    assert next(scan) == (b"k", b"v")
    rocks.close()
    rocks.close()
    assert next(scan, None) is None
    with Rocks.open(tmp_path) as again:
        assert again.get("ops", b"k") == b"v"


def test_a_store_that_has_families_of_before_opens_without_them_and_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def families() -> set[str]:
        return {*Rdict.list_cf(str(tmp_path / ROCKS_DIRECTORY), Options(raw_mode=True))} - {"default"}

    def by_the_version_before(value: bytes) -> None:
        with monkeypatch.context() as before:
            before.setattr("tsdb.storage.rocks.FAMILIES", (*keys.FAMILIES, "masks"))
            before.setattr("tsdb.storage.rocks.FAMILIES_GONE", ())
            with Rocks.open(tmp_path) as rocks:
                assert rocks.get("ops", b"k") == (None if value == b"1" else b"1")
                put(rocks, "ops", {b"k": value}, sync=True)
        assert families() == {*keys.FAMILIES, "masks"}

    by_the_version_before(b"1")
    for _ in range(2):
        with Rocks.open(tmp_path) as rocks:
            assert rocks.get("ops", b"k") == b"1"
        assert families() == {*keys.FAMILIES}
    by_the_version_before(b"2")
    # What a newer version has is left as it is.
    set_format_of(tmp_path, FORMAT_VERSION + 1)
    with pytest.raises(StartupError, match="newer tsdb"):
        Rocks.open(tmp_path)
    assert "masks" in families()


def set_format_of(path: Path, version: int) -> None:
    """Through RocksDB alone."""
    names = Rdict.list_cf(str(path / ROCKS_DIRECTORY), Options(raw_mode=True))
    database = Rdict(
        str(path / ROCKS_DIRECTORY), Options(raw_mode=True), column_families={n: Options(raw_mode=True) for n in names}
    )
    database.get_column_family("state")[keys.state_key("format")] = struct.pack(">I", version)
    database.close()


def set_format(path: Path, value: bytes) -> None:
    with Rocks.open(path) as rocks:
        put(rocks, "state", {keys.state_key("format"): value})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (struct.pack(">I", FORMAT_VERSION + 1), "newer tsdb"),
        (struct.pack(">I", 0), "unknown format version 0"),
        (b"nonsense", "unknown format version"),
    ],
)
def test_another_format_is_refused_in_one_line(tmp_path: Path, value: bytes, text: str) -> None:
    set_format(tmp_path, value)
    for _ in range(2):
        with pytest.raises(StartupError, match=text) as raised:
            Rocks.open(tmp_path)
        assert "\n" not in str(raised.value)


def test_data_without_a_format_version_is_refused(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        put(rocks, "state", {keys.state_key("other"): b"x"})
        batch = rocks.batch()
        batch.delete("state", keys.state_key("format"))
        rocks.write(batch, sync=True)
    with pytest.raises(StartupError, match="without a format version"):
        Rocks.open(tmp_path)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot write to the data directory"):
        Rocks.open(tmp_path / "file")
    with pytest.raises(StartupError, match="cannot write to the data directory"):
        Rocks.open(tmp_path / "file" / "below")
    (tmp_path / "dir" / LOCK_FILE).mkdir(parents=True)
    with pytest.raises(StartupError, match="cannot write to the data directory"):
        Rocks.open(tmp_path / "dir")


def test_a_damaged_table_of_files_is_not_opened(tmp_path: Path) -> None:
    with Rocks.open(tmp_path) as rocks:
        put(rocks, "ops", {b"k": FILLER})
        rocks.flush()
    (tmp_path / ROCKS_DIRECTORY / "CURRENT").write_text("MANIFEST-999999\n")
    with pytest.raises(StartupError, match=r"was not opened|could not be opened"):
        Rocks.open(tmp_path)


@pytest.mark.parametrize(("family", "suffix"), [("ops", ".sst"), ("columns", ".blob")])
def test_a_flipped_byte_in_a_file_is_never_read_as_a_value(tmp_path: Path, family: str, suffix: str) -> None:
    value = os.urandom(20_000)
    with Rocks.open(tmp_path) as rocks:
        put(rocks, family, {b"k": value})
        rocks.flush()
    (damaged,) = [p for p in (tmp_path / ROCKS_DIRECTORY).glob(f"*{suffix}") if value in p.read_bytes()]
    broken = bytearray(damaged.read_bytes())
    broken[broken.index(value) + 10_000] ^= 1
    damaged.write_bytes(broken)
    with Rocks.open(tmp_path) as rocks:
        with pytest.raises(DataCorrupted):
            rocks.get(family, b"k")
        with pytest.raises(DataCorrupted):
            rocks.get_many(family, [b"k"])
        with pytest.raises(DataCorrupted):
            list(rocks.scan(family))


FAILING_WRITER = """
import resource, signal, sys
from pathlib import Path
from tsdb.storage.rocks import FatalStorageError, Rocks
rocks = Rocks.open(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
failed = 0
for i in range(60):
    batch = rocks.batch()
    batch.put("ops", b"%06d" % i, b"x" * 50_000)
    try:
        rocks.write(batch, sync=True)
    except FatalStorageError as error:
        failed += 1
        assert "failed" in str(error)
    else:
        assert not failed, "a write succeeded after one had failed"
print("failed", failed > 30, flush=True)
"""


def test_after_the_first_failed_write_every_write_fails(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    run = subprocess.run([sys.executable, "-c", FAILING_WRITER, str(tmp_path)], capture_output=True, text=True)
    assert run.stdout == "failed True\n", run.stderr
    assert issubclass(FatalStorageError, Exception)
