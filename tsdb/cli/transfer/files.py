"""Which files an import reads, of which format, and their bytes."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote

import pyarrow as pa

from tsdb.errors import ConfigurationError

STDIN = "-"
FORMATS = {".lp": "lp", ".line": "lp", ".txt": "lp", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
PACKED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
# What the first bytes of packed standard input are: it has no name that would say so.
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
# Parts of the time by which an export splits Parquet, and how they are written.
TIME_PARTS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}
# The directory of rows whose value is NULL (Hive's word for it).
_NULL_PART = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, or standard input; ``format`` is lp, csv or parquet."""

    path: str
    format: str
    packed: str | None = None

    @property
    def stamp(self) -> str:
        """What changes when the file does."""
        if self.path == STDIN:
            return STDIN
        found = Path(self.path).stat()
        return f"{Path(self.path).resolve()} {found.st_size} {found.st_mtime_ns}"

    @property
    def size(self) -> int:
        return 0 if self.path == STDIN else Path(self.path).stat().st_size

    def open(self) -> BinaryIO:
        """The bytes as they are in the file."""
        return sys.stdin.buffer if self.path == STDIN else open(self.path, "rb")

    @property
    def parts(self) -> dict[str, str | None]:
        """The columns of a partitioned directory, ``host=a/day=2026-01-01``: they are in the path, not in the file."""
        split = [name.partition("=") for name in Path(self.path).parts[:-1] if "=" in name[1:]]
        return {unquote(name): None if value == _NULL_PART else unquote(value) for name, _, value in split}

    def unpacked(self, raw: BinaryIO) -> BinaryIO:
        packed = self.packed
        if self.path == STDIN:
            peeking = raw if isinstance(raw, BufferedReader) else BufferedReader(cast(RawIOBase, raw))
            first, raw = peeking.peek(4), peeking
            packed = next((codec for magic, codec in _MAGIC if first.startswith(magic)), None)
        if packed is None:
            return raw
        return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(raw, "r"), packed))


def sources(names: Iterable[str], format_: str | None) -> list[Source]:
    """The files that names, globs and directories stand for, by name. Raises ConfigurationError."""
    found: list[Source] = []
    for name in names:
        if name == STDIN:
            if format_ is None:
                raise ConfigurationError("standard input has no name that says its format: add --format")
            found.append(Source(STDIN, format_))
            continue
        paths = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))
        if not paths:
            raise ConfigurationError(f"there is no file {name}")
        for path in paths:
            found += _of_directory(Path(path), format_) if Path(path).is_dir() else [_source(Path(path), format_)]
    return list(dict.fromkeys(found))


def _of_directory(directory: Path, format_: str | None) -> list[Source]:
    """The files in and below a directory whose names say what they are."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    found = [_source(path, format_) for path in files if format_of(path) is not None]
    if not found:
        raise ConfigurationError(f"no file below {directory} ends in {', '.join(FORMATS)}, packed or not")
    return found


def _source(path: Path, format_: str | None) -> Source:
    known = format_ or format_of(path)
    if known is None:
        raise ConfigurationError(f"the name of {path} does not say its format: add --format lp, csv or parquet")
    return Source(str(path), known, PACKED.get(path.suffix.lower()))


def format_of(path: Path) -> str | None:
    """What a file's name says of its format."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None
