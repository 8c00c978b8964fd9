"""The soak (``soak``): a minute in CI, 20 million points nightly; on a small file system where root may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.preloaded import compiled
from tests.system.soak import MIB, Soak

SOURCE = Path(__file__).with_name("slow_fsync.c")


@pytest.fixture(scope="module")
def slow_fsync(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The library that makes fsync slow; None where there is no compiler."""
    return compiled(SOURCE, tmp_path_factory.mktemp("slow"))


@pytest.fixture
def small(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, int]]:
    """A directory on a tmpfs of so many MiB, and its size; on the test's own file system, and 0, who may not mount."""
    folder, size = tmp_path / "small", request.param * MIB
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    yield folder, size if mounted else 0
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.mark.parametrize("small", [512], indirect=True)
def test_what_is_accepted_is_stored_whatever_befalls(small: tuple[Path, int], slow_fsync: Path | None) -> None:
    folder, size = small
    print(Soak(folder, seed=1, size_bytes=size, slow=slow_fsync).run(seconds=60))
    if not size:
        pytest.skip("the soak held, but without a full disk: only root mounts a small file system")


@pytest.mark.nightly
@pytest.mark.parametrize("small", [4096], indirect=True)
def test_twenty_million_points_are_stored_whatever_befalls(small: tuple[Path, int], slow_fsync: Path | None) -> None:
    folder, size = small
    print(Soak(folder, seed=2, size_bytes=size, slow=slow_fsync).run(points=20_000_000, pause_s=10))
    if not size:
        pytest.skip("the soak held, but without a full disk: only root mounts a small file system")
