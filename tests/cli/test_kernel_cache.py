"""Where compiled kernels lie when the user has no cache directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tsdb.cli.start import place_kernel_cache


@pytest.fixture(autouse=True)
def _no_cache_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TSDB_KERNEL_CACHE", "")


def test_in_the_cache_directory_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    place_kernel_cache(tmp_path / "data")
    assert os.environ["TSDB_KERNEL_CACHE"] == ""
    assert (tmp_path / ".cache" / "tsdb" / "kernels").is_dir()


def test_without_a_home_in_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nobody")
    place_kernel_cache(tmp_path / "data")
    assert os.environ["TSDB_KERNEL_CACHE"] == str(tmp_path / "data" / "kernels")


def test_what_the_environment_says_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nobody")
    monkeypatch.setenv("TSDB_KERNEL_CACHE", str(tmp_path))
    place_kernel_cache(tmp_path / "data")
    assert os.environ["TSDB_KERNEL_CACHE"] == str(tmp_path)
