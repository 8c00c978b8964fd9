"""The files of compiled kernels, which servers on one machine share and add to at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tsdb.kernels import CacheFile

STAMP = (1.5, 100)
WRITERS, KEYS = 6, 12
# One kernel, and a type of its argument for each process.
KERNEL = "from tsdb.kernels import kernel\n\n\n@kernel\ndef twice(values):\n    return values + values\n"
USE = """
import sys
import numpy as np
from kernel import twice
for kind in sys.argv[1:]:
    assert twice(np.array([3], kind)).tolist() == [6], kind
    assert twice(np.array([3], kind)).dtype == np.dtype(kind), kind
print(sum(twice.stats.cache_hits.values()))
"""
KINDS = ("int64", "int32", "uint64", "uint32", "float64", "float32")


def file(directory: Path) -> Any:
    return CacheFile(str(directory), "kernel-7.py311", STAMP)


def test_what_another_process_saved_meanwhile_is_never_taken_for_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that looked at the index before the other saved chooses its file's name all the same."""
    late, other = file(tmp_path), file(tmp_path)
    monkeypatch.setattr(late, "_load_index", dict)
    other.save(("float64",), "of floats")
    reader = file(tmp_path)
    seen = reader._load_index()
    monkeypatch.setattr(reader, "_load_index", lambda: seen)
    late.save(("int64",), "of integers")
    assert reader.load(("float64",)) == "of floats"
    assert file(tmp_path).load(("int64",)) == "of integers"


def test_many_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    ready = threading.Barrier(WRITERS)

    def save(writer: int) -> None:
        ready.wait()
        for key in range(KEYS):
            file(tmp_path).save((writer, key), f"{writer} {key}")

    threads = [threading.Thread(target=save, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(w, k): file(tmp_path).load((w, k)) for w in range(WRITERS) for k in range(KEYS)}
    assert found == {(w, k): f"{w} {k}" for w in range(WRITERS) for k in range(KEYS)}


def test_what_cannot_be_read_is_compiled_again(tmp_path: Path) -> None:
    file(tmp_path).save("key", "code")
    for path in [*tmp_path.glob("*.nbc"), *tmp_path.glob("*.nbi")]:
        path.write_bytes(path.read_bytes()[:-3])
        assert file(tmp_path).load("key") is None
        file(tmp_path).save("key", "code")
        assert file(tmp_path).load("key") == "code"


def test_processes_that_compile_one_kernel_at_once(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "use.py").write_text(USE)
    package = str(Path(__file__).parents[2])
    environment = {**os.environ, "TSDB_KERNEL_CACHE": str(tmp_path / "cache"), "PYTHONPATH": package}

    def use(*kinds: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(tmp_path / "use.py"), *kinds]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    for process in [use(kind) for kind in KINDS]:
        process.communicate()
        assert process.returncode == 0
    reader = use(*KINDS)
    said, _ = reader.communicate()
    assert (reader.returncode, said.strip()) == (0, str(len(KINDS)))
