"""Which files an import reads, of which format, and their bytes."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from tsdb.errors import ConfigurationError

STDIN = "-"
FORMATS = {".lp": "lp", ".line": "lp", ".txt": "lp", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
PACKED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}


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

    def unpacked(self, raw: BinaryIO) -> BinaryIO:
        if self.packed is None:
            return raw
        return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(raw, "r"), self.packed))


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
