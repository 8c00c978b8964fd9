"""A copy that arrives: blocks of its points, which nobody sees until all of them are installed.

``take`` runs in a thread of the receiver's and writes values as a flush does: unsynced, behind a record of unfinished
work, so that a start deletes what got no header. ``put`` and ``installed`` are called in the committer's thread, around
the one synced batch that makes all of it real. In memory are one chunk, and the headers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt

from tsdb.errors import DataCorrupted, SerializationFailure
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.ring import intervals_of
from tsdb.model.time import WINDOW_NS
from tsdb.storage import keys, state
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN, BlockHeader, delete_values
from tsdb.storage.block_writer import Values, new_blocks, rows_of_block
from tsdb.storage.body import WriteBody
from tsdb.storage.copies.sending import Tally, decode_chunk, schema_of
from tsdb.storage.merge import sort, take
from tsdb.storage.rocks import Batch, FatalStorageError
from tsdb.storage.rows import COUNTER_MASK, Rows
from tsdb.storage.shard import Shard
from tsdb.storage.version import SeriesBlocks

Bools = npt.NDArray[np.bool_]

# Records of unfinished work have numbers; those of flushes are small, those of compactions begin at 2**32.
NUMBERS_FROM = 1 << 40
_numbers = itertools.count(NUMBERS_FROM)


class Arriving:
    """One copy. ``call`` runs a function in the committer's thread; ``next_block`` gives the id of a new block."""

    def __init__(
        self, shard: Shard, call: Callable[[Callable[[], Any]], Future[Any]], next_block: Callable[[], int]
    ) -> None:
        self._shard = shard
        self._call = call
        self._next_block = next_block
        self._number = next(_numbers)
        self._first_block = next_block()
        self._values = Values(shard.rocks, shard.options.values_batch_bytes)
        self._columns: set[tuple[int, int]] = set()
        self._headers: dict[int, list[BlockHeader]] = {}
        self._used: dict[int, Bools] = {}
        self._lacking: tuple[int, int, frozenset[int]] | None = None
        self.tally = Tally()

    # In a thread of the receiver's

    @staticmethod
    def schema_of(chunk: bytes | memoryview) -> int:
        """What has to be known of the schema before a chunk is taken. Raises DataCorrupted."""
        return schema_of(chunk)

    def take(self, chunk: bytes | memoryview) -> None:
        """Raises DataCorrupted, DiskFull."""
        if not self._shard.room.has():
            raise self._shard.room.full()
        bodies, sequences = decode_chunk(chunk)
        self.tally.add(chunk, len(sequences))
        try:
            start = 0
            for body in bodies:
                self._take(body, sequences[start : start + len(body)])
                start += len(body)
        except FatalStorageError as error:
            self._shard.options.abort(str(error))
            raise

    def check(self, chunks: int, rows: int, digest: bytes) -> None:
        """Compare with what the sender has counted. Raises DataCorrupted; nothing is installed then."""
        tally = self.tally
        if (chunks, rows, digest) != (tally.chunks, tally.rows, tally.digest):
            raise DataCorrupted(
                f"a copy of {rows} points in {chunks} chunks came as {tally.rows} in {tally.chunks}, or with another "
                "digest"
            )
        self._values.write()

    def _take(self, body: WriteBody, sequences: npt.NDArray[np.int64]) -> None:
        number = body.series
        # A series that is not known was dropped: whoever asked waits for the schema first.
        if number not in self._shard.version.catalog.series_by_number or not len(body):
            return
        ids = self._ids(number, body)
        rows, _ = sort(Rows(ids, body.times, sequences, body.fields))
        self._announce(number, rows)
        texts = max((values.nbytes for values in rows.columns.values()), default=0)
        limit = rows_of_block(len(rows), texts, self._shard.options.rows_per_block)
        windows = rows.times // WINDOW_NS
        for window in np.unique(windows).tolist():
            index = np.flatnonzero(windows == window)
            part = rows if len(index) == len(rows) else take(rows, index)
            for block in new_blocks(number, window, part, limit, self._next_block):
                encoded = block.encode(_go_on)
                self._headers.setdefault(number, []).append(encoded.header)
                encoded.put_values(self._values.batch)

    def _ids(self, series: int, body: WriteBody) -> npt.NDArray[np.int32]:
        tagsets = ByteStrings.of(body.tagsets)
        known = self._call(lambda: self._shard.index_of(series).ids(tagsets)).result()
        used = self._used.get(series, np.zeros(0, np.bool_))
        if int(known.max()) >= len(used):
            used = np.concatenate((used, np.zeros(2 * int(known.max()) + 1 - len(used), np.bool_)))
        used[known] = True
        self._used[series] = used
        found: npt.NDArray[np.int32] = known[body.tagset]
        return found

    def _announce(self, series: int, rows: Rows) -> None:
        """Before the first value of a column: what a start has to delete."""
        columns = {(series, column) for column in (TIME_COLUMN, SEQUENCE_COLUMN, *rows.columns)}
        if not columns <= self._columns:
            self._columns |= columns
            state.put_flushing(
                self._values.batch, self._number, state.Flushing(self._first_block, sorted(self._columns))
            )
            self._values.write()

    def discard(self) -> None:
        """It is given up: nothing of it stays."""
        batch = self._shard.rocks.batch()
        for headers in self._headers.values():
            for header in headers:
                delete_values(batch, header)
        state.delete_flushing(batch, self._number)
        self._values.write()
        self._shard.write(batch, sync=False)
        self._headers, self._used = {}, {}

    # In the committer's thread

    def lacks_deletions(self, database: int, counter: int, locations: Collection[int]) -> None:
        """What was deleted in these locations of a database up to a counter is not there, nor what that was."""
        self._lacking = database, counter, frozenset(locations)

    def check_tagsets(self) -> None:
        """Raises SerializationFailure if tag sets of the copy were forgotten meanwhile, as if no row had them."""
        for series, used in self._used.items():
            index = self._shard.indexes.get(series)
            if index is None and series not in self._shard.version.catalog.series_by_number:
                continue
            present = np.zeros(0, np.bool_) if index is None else index.snapshot().present()
            ids = np.flatnonzero(used)
            if len(ids) and (int(ids[-1]) >= len(present) or not present[ids].all()):
                raise SerializationFailure("tag sets of a copy were forgotten while it came: it has to come again")

    def put(self, batch: Batch) -> None:
        """All that makes the copy real, into the batch that says so; after ``check_tagsets`` in the same turn."""
        shard, known = self._shard, self._shard.version.catalog.series_by_number
        counter = 0
        for series, headers in self._headers.items():
            for header in headers:
                if series in known:
                    batch.put("blocks", header.key, header.to_bytes())
                    counter = max(counter, header.high_counter)
                else:
                    delete_values(batch, header)
            if series in known:
                for tagset_id, record in shard.indexes[series].undurable():
                    batch.put("tagsets", keys.tagset_key(series, tagset_id), record)
        if self._lacking is not None:
            database, last, numbers = self._lacking
            for series in shard.version.catalog.continuous_of:
                if series in known and known[series][0].number == database:
                    ring = intervals_of(each for each in known[series][0].locations if each.number in numbers)
                    shard.erase_all(batch, series, last, ring)
        shard.log.counter = max(shard.log.counter, counter & COUNTER_MASK)
        state.put_counter(batch, shard.log.counter)
        state.delete_flushing(batch, self._number)

    def installed(self) -> None:
        """The batch is durable: the points are visible from here on."""
        shard = self._shard
        headers = {n: each for n, each in self._headers.items() if n in shard.version.catalog.series_by_number}
        blocks = dict(shard.version.blocks)
        for series, found in headers.items():
            shard.indexes[series].mark_durable(len(shard.indexes[series]))
            blocks[series] = blocks.get(series, SeriesBlocks()).with_added(found, shard.version.number)
        shard.publish_copied(blocks, headers)
        self._headers, self._used = {}, {}

    @property
    def value_bytes(self) -> int:
        return sum(header.value_bytes for headers in self._headers.values() for header in headers)


def _go_on() -> None:
    """A copy that is given up ends between two chunks."""
