"""RocksDB: one instance in one data directory, bytes to bytes, by column family. The only importer of rocksdict.

What RocksDB is told and why:

- **Recovery** tolerates a torn record at the end of the WAL and refuses everything else. With the default mode one
  flipped byte in the middle silently dropped 500 of 1,000 synced writes (measured). A store that refuses to open is
  not opened with less in it.
- **A failed write or sync ends the process** (FatalStorageError, which the engine turns into an abort): a second sync
  may report success with the data gone (reproduced).
- **Memory**: memtables of all families together stay below ``MEMTABLE_BYTES``.
- **Column values** of 8 KiB and more go to blob files, so that compactions move their keys only. Measured with 1.1 GB
  of 12 and 22 KB values of which half were deleted later: 1.2 GB written beside the WAL instead of 2.0 GB (and more so
  with more levels), 13 % more space, a value read in 22 µs instead of 11. Smaller ones stay inline.
- **Deleted values** give their space back soon: a file with many deletions is compacted by RocksDB in the background.
  Of 290 MB of which half was deleted, 145 MB stayed on disk 1.5 s later; without it all of them, for hours (measured).
- **Ops** are deleted in ranges soon after they were written. ``reclaim`` after such a deletion drops what it covers
  without rewriting it: of 1.5 GB of ops, deleted every 100 MB, at most 80 MB stayed on disk, 240 MB without (measured).

The data directory is locked to one process by ``tsdb.lock``; the format version in ``state`` is checked at open.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import weakref
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from rocksdict import (
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    Checkpoint,
    ColumnFamily,
    CompactOptions,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from tsdb import prompt
from tsdb.errors import DataCorrupted, IoError, StartupError
from tsdb.storage.keys import FAMILIES, FAMILIES_GONE, state_key

FORMAT_VERSION = 2
# Version 1 had no group: its catalog changed without a log. A directory of it is taken over, and is not opened again by
# a version that knows nothing of groups and would change the catalog behind one's back.
FORMATS_TAKEN_OVER = (1,)
LOCK_FILE = "tsdb.lock"
ROCKS_DIRECTORY = "rocks"

MIB = 1 << 20
MEMTABLE_BYTES = 96 * MIB
WAL_BYTES = 256 * MIB
BLOCK_CACHE_BYTES = 32 * MIB
BLOB_FROM_BYTES = 8192
BLOB_FILE_BYTES = 64 * MIB
# The part of the blob files, the oldest ones, whose garbage RocksDB looks for.
BLOB_AGE = 0.25
# Families whose values are compressed already, or that live too short to be worth it.
UNCOMPRESSED = frozenset({"ops", "columns", "runs"})
# Families whose values are deleted one by one, and files with so many deletions among their entries, in a row or in
# all, that RocksDB compacts them by itself.
RECLAIMED = frozenset({"blocks", "runs", "columns", "summaries", "tagsets"})
DELETIONS_OF, DELETIONS_FROM, DELETIONS_RATIO = 256, 128, 0.5

_FORMAT_KEY = state_key("format")
_FORMAT = struct.Struct(">I")


class FatalStorageError(Exception):
    """A write or sync failed: nothing this process says about its data can be believed any more."""


class Batch:
    """Changes that are written together or not at all, over any families. Once written it is used up."""

    def __init__(self, handles: dict[str, ColumnFamily]) -> None:
        self._handles = handles
        self._batch = WriteBatch(raw_mode=True)

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self._batch.put(key, value, self._handles[family])

    def delete(self, family: str, key: bytes) -> None:
        self._batch.delete(key, self._handles[family])

    def delete_range(self, family: str, low: bytes, high: bytes) -> None:
        """Delete all keys in the half-open [low, high)."""
        self._batch.delete_range(low, high, self._handles[family])

    @property
    def size(self) -> int:
        """Bytes of the batch as it will be in the WAL."""
        return self._batch.size_in_bytes()

    def __len__(self) -> int:
        return self._batch.len()


class Rocks:
    """An open store. Every method may be called by any thread; a batch belongs to one."""

    def __init__(self, path: Path, lock: int, database: Rdict) -> None:
        self.path = path
        self._lock = lock
        self._database = database
        self._families = {name: database.get_column_family(name) for name in FAMILIES}
        self._handles = {name: database.get_column_family_handle(name) for name in FAMILIES}
        self._synced = WriteOptions()
        self._synced.sync = True
        self._unsynced = WriteOptions()
        self._failure: str | None = None
        # A store stays open as long as an iterator of it lives: those that nobody read to the end are closed with it.
        self._scans: weakref.WeakSet[Generator[tuple[bytes, bytes], None, None]] = weakref.WeakSet()
        self._closing = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, wal_bytes: int = WAL_BYTES, memtable_bytes: int = MEMTABLE_BYTES) -> Rocks:
        """Open or create the store in a directory. Raises StartupError, whose text is one line."""
        path = Path(path)
        lock = _lock(path)
        try:
            database, gone = _open(path / ROCKS_DIRECTORY, wal_bytes, memtable_bytes)
            try:
                rocks = cls(path, lock, database)
                rocks._check_format()
                rocks._drop_families(gone)
            except BaseException:
                database.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        return rocks

    def __enter__(self) -> Rocks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def batch(self) -> Batch:
        return Batch(self._handles)

    def write(self, batch: Batch, sync: bool) -> None:
        """Write a batch; with ``sync`` it is on disk when this returns, together with every write before it.

        Raises FatalStorageError, at the first failure and at every call from then on.
        """
        if self._failure is not None:
            raise FatalStorageError(self._failure)
        prompt.may_wait()
        size = batch.size
        try:
            self._database.write(batch._batch, self._synced if sync else self._unsynced)
        except Exception as error:
            self._failure = f"writing {size} bytes to {self.path} failed: {error}"
            raise FatalStorageError(self._failure) from error

    def get(self, family: str, key: bytes) -> bytes | None:
        """Raises DataCorrupted, IoError."""
        prompt.may_wait()
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:
            raise _read_error(family, error) from error
        return value

    def get_many(self, family: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of ``keys`` in their order, None where there is none. Raises DataCorrupted, IoError."""
        if not keys:
            return []
        prompt.may_wait()
        try:
            values: list[bytes | None] = self._families[family].get(list(keys))  # type: ignore[assignment]
        except Exception as error:
            raise _read_error(family, error) from error
        return values

    def scan(
        self, family: str, low: bytes = b"", high: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the half-open [low, high), as they are when the first is read; None is no bound.

        Raises DataCorrupted, IoError.
        """
        prompt.may_wait()
        scan = self._scan(family, low, high, reverse)
        self._scans.add(scan)
        return scan

    def _scan(
        self, family: str, low: bytes, high: bytes | None, reverse: bool
    ) -> Generator[tuple[bytes, bytes], None, None]:
        iterator = self._families[family].iter()
        if not reverse:
            iterator.seek(low)
        elif high is None:
            iterator.seek_to_last()
        else:
            iterator.seek_for_prev(high)
            if iterator.valid() and iterator.key() == high:
                iterator.prev()
        while iterator.valid():
            key: bytes = iterator.key()
            if key < low or (high is not None and key >= high):
                return
            yield key, iterator.value()
            if reverse:
                iterator.prev()
            else:
                iterator.next()
        try:
            iterator.status()
        except Exception as error:
            raise _read_error(family, error) from error

    def reclaim(self, family: str, low: bytes, high: bytes) -> None:
        """Free the disk space of deleted keys in [low, high) now and not at some later compaction."""
        try:
            self._families[family].compact_range(low, high, CompactOptions())
        except Exception as error:
            raise _read_error(family, error) from error

    def write_anew(self, family: str) -> None:
        """Write all values of a family to new files, which hold nothing that was deleted. Blocks."""
        opened = self._families[family]
        everything = CompactOptions()
        everything.set_bottommost_level_compaction(BottommostLevelCompaction.force())
        try:
            opened.set_options({_BLOB_AGE: "1"})
            try:
                opened.compact_range(None, None, everything)
            finally:
                opened.set_options({_BLOB_AGE: str(BLOB_AGE)})
        except Exception as error:
            raise _read_error(family, error) from error

    def flush(self, families: Iterable[str] = FAMILIES) -> None:
        """Write all memtables to files, so that the WAL before them can go. Raises FatalStorageError."""
        try:
            for family in families:
                self._families[family].flush(wait=True)
        except Exception as error:
            self._failure = f"flushing {self.path} failed: {error}"
            raise FatalStorageError(self._failure) from error

    def checkpoint(self, path: Path) -> None:
        """A consistent copy in a new directory, by hard links where it can be. Raises IoError."""
        try:
            path.mkdir(parents=True)
            Checkpoint(self._database).create_checkpoint(str(path / ROCKS_DIRECTORY))
        except Exception as error:
            raise IoError(f"could not make a checkpoint in {path}: {error}") from error

    def is_compacting(self) -> bool:
        """Is RocksDB at work, or about to be, to give back the space of what was deleted?"""
        names = (_COMPACTIONS_RUNNING, _COMPACTION_PENDING)
        return any(family.property_int_value(name) for family in self._families.values() for name in names)

    def bytes_on_disk(self, family: str) -> int:
        """Bytes in the files of a family, without the WAL."""
        opened = self._families[family]
        sizes = (opened.property_int_value(name) for name in (_SST_BYTES, _BLOB_BYTES))
        return sum(size or 0 for size in sizes)

    def blob_bytes(self, family: str) -> tuple[int, int]:
        """Bytes in the blob files of a family: all, and those of deleted values that compactions have met."""
        opened = self._families[family]
        stored, garbage = (opened.property_int_value(name) for name in (_BLOB_BYTES, _BLOB_GARBAGE))
        return stored or 0, garbage or 0

    def close(self) -> None:
        """Close and unlock; what was written stays in the WAL. Does nothing the second time."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        for scan in list(self._scans):
            with contextlib.suppress(ValueError):  # another thread is in it
                scan.close()
        for family in self._families.values():
            family.close()
        # A store stays open as long as anything refers to it; batches share this very dictionary.
        self._handles.clear()
        self._database.close()
        os.close(self._lock)

    def _check_format(self) -> None:
        stored = self.get("state", _FORMAT_KEY)
        if stored is None and next(self.scan("state"), None) is not None:
            raise StartupError(f"{self.path} holds data without a format version; it is not opened")
        version = -1
        if stored is not None and len(stored) == _FORMAT.size:
            version = _FORMAT.unpack(stored)[0]
        if stored is None or version in FORMATS_TAKEN_OVER:
            batch = self.batch()
            batch.put("state", _FORMAT_KEY, _FORMAT.pack(FORMAT_VERSION))
            self.write(batch, sync=True)
            return
        if version > FORMAT_VERSION:
            raise StartupError(
                f"{self.path} was written by a newer tsdb (format {version}, this one reads {FORMAT_VERSION}); "
                "start it with that version"
            )
        if version != FORMAT_VERSION:
            raise StartupError(f"{self.path} has the unknown format version {version}; it is not opened")

    def _drop_families(self, names: Iterable[str]) -> None:
        for name in names:
            self._database.drop_column_family(name)


_SST_BYTES = "rocksdb.live-sst-files-size"
_BLOB_BYTES = "rocksdb.live-blob-file-size"
_BLOB_GARBAGE = "rocksdb.live-blob-file-garbage-size"
_BLOB_AGE = "blob_garbage_collection_age_cutoff"
_COMPACTIONS_RUNNING, _COMPACTION_PENDING = "rocksdb.num-running-compactions", "rocksdb.compaction-pending"


def _read_error(family: str, error: Exception) -> Exception:
    if "Corruption" in str(error):
        return DataCorrupted(f"family {family}: {error}")
    return IoError(f"reading family {family} failed: {error}")


def is_there(path: Path) -> bool:
    """Whether there is a data directory at ``path``: one that was opened before."""
    return (path / ROCKS_DIRECTORY).exists()


def is_locked(path: Path) -> bool:
    """Whether a process has the data directory open."""
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(path: Path) -> int:
    """Create the directory and lock it for this process; the lock goes when its descriptor is closed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(f"cannot write to the data directory {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StartupError(
            f"the data directory {path} is in use by another process" + (f" (pid {owner})" if owner else "")
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _open(path: Path, wal_bytes: int, memtable_bytes: int) -> tuple[Rdict, Collection[str]]:
    """And which families it has that are none any more."""
    cache = Cache(BLOCK_CACHE_BYTES)
    database_options = _database_options(wal_bytes, memtable_bytes)
    try:
        gone: set[str] = set()
        if (path / "CURRENT").exists():
            found = set(Rdict.list_cf(str(path), database_options))
            gone = found & set(FAMILIES_GONE)
            unknown = found - gone - {"default", *FAMILIES}
            if unknown:
                raise StartupError(
                    f"{path} was written by a newer tsdb: it has the unknown families {', '.join(sorted(unknown))}"
                )
        families = {name: _family_options(name, cache, memtable_bytes) for name in (*FAMILIES, *gone)}
        return Rdict(str(path), database_options, column_families=families), gone
    except StartupError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if "Corruption" in text:
            raise StartupError(
                f"the store in {path} is damaged and was not opened, so that nothing in it is lost: {text}; "
                "restore it from a backup or replace this node"
            ) from error
        raise StartupError(f"the store in {path} could not be opened: {text}") from error


def _database_options(wal_bytes: int, memtable_bytes: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_paranoid_checks(True)
    options.set_db_write_buffer_size(memtable_bytes)
    options.set_max_total_wal_size(wal_bytes)
    options.set_max_background_jobs(2)
    # Below the usual limit of 1,024 descriptors, with room for connections.
    options.set_max_open_files(512)
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(4 * MIB)
    options.set_stats_dump_period_sec(0)
    # Written as it grows, so that no sync has much left to do.
    options.set_wal_bytes_per_sync(MIB)
    options.set_bytes_per_sync(MIB)
    return options


def _family_options(name: str, cache: Cache, memtable_bytes: int) -> Options:
    options = Options(raw_mode=True)
    tables = BlockBasedOptions()
    tables.set_block_cache(cache)
    tables.set_bloom_filter(10, False)
    options.set_block_based_table_factory(tables)
    options.set_write_buffer_size(memtable_bytes // 3 if name in ("ops", "columns") else memtable_bytes // 12)
    options.set_max_write_buffer_number(3)
    none = DBCompressionType.none()
    options.set_compression_type(none if name in UNCOMPRESSED else DBCompressionType.zstd())
    if name in RECLAIMED:
        options.add_compact_on_deletion_collector_factory(DELETIONS_OF, DELETIONS_FROM, DELETIONS_RATIO)
    if name == "columns":
        options.set_enable_blob_files(True)
        options.set_min_blob_size(BLOB_FROM_BYTES)
        options.set_blob_compression_type(none)
        options.set_enable_blob_gc(True)
        options.set_blob_file_size(BLOB_FILE_BYTES)
        options.set_blob_gc_age_cutoff(BLOB_AGE)
        options.set_blob_gc_force_threshold(0.5)
    return options
