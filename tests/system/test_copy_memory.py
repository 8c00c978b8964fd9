"""``copy_memory``: how much of a COPY waits in memory for its end; the rest is in a file without a name. A process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fixtures.server import Process, Start

ROWS = 300_000
LINES = "".join(f"2026-01-01T00:{i // 6000:02}:{i % 60:02}Z\t{i}\t{'x' * 60}\n" for i in range(ROWS)).encode()


def spooled_files(process: Process, folder: Path) -> list[str]:
    """What the process has open below ``folder``."""
    found = []
    for link in Path(f"/proc/{process.popen.pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


@pytest.mark.parametrize(("memory", "files"), [("1MiB", 1), ("256MiB", 0)])
def test_what_a_copy_has_beyond_copy_memory_waits_in_a_file(
    start: Start, tmp_path: Path, memory: str, files: int
) -> None:
    process = start("--copy-memory", memory, data=tmp_path / "data")
    with process.connect() as connection:
        connection.execute("CREATE TABLE waits (time timestamptz, n int, t text)")
        with connection.cursor() as cursor:
            with cursor.copy("COPY waits FROM STDIN") as copy:
                copy.write(LINES)
                # The server reads on by itself; a file that is not to come is waited for a while.
                folder, until = tmp_path / "data" / "spill", time.monotonic() + (10 if files else 1)
                while len(seen := spooled_files(process, folder)) < max(files, 1) and time.monotonic() < until:
                    time.sleep(0.02)
                assert len(seen) == files, seen
            assert cursor.rowcount == ROWS
        assert connection.execute("SELECT count(*), max(n) FROM waits").fetchone() == (ROWS, ROWS - 1)
    assert not spooled_files(process, tmp_path / "data" / "spill")
