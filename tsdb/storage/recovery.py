"""Recovery: from the data directory to a shard, as it was when the process ended, however it ended.

1. The catalog, the index of blocks, tag sets, tombstones, producers and flushed positions are read.
2. What a flush or a DROP left unfinished is deleted.
3. The op logs are replayed from the flushed positions. Each op must be the next one and continue the chain of hashes;
   a log that does not is not read past, and the store does not open with less in it. Logs that several nodes have are
   left alone: what of them is committed only these nodes together know (``replica_log``). One that was this node's
   alone before is replayed to where it ended.
4. The counter goes above every counter in blocks, tombstones, logs and state: none is given twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice, pairwise
from operator import itemgetter
from pathlib import Path

from tsdb.errors import DataCorrupted, StartupError
from tsdb.model.ring import Location
from tsdb.model.schema import Catalog
from tsdb.model.store import Producer
from tsdb.storage import identity, keys, metadata, state
from tsdb.storage.block import BlockHeader
from tsdb.storage.block import delete_values as delete_block_values
from tsdb.storage.carried_out import hit_blocks, keep_tombstones
from tsdb.storage.decoded import Decoded, Logged
from tsdb.storage.flusher import flush_now
from tsdb.storage.garbage import uncollected
from tsdb.storage.log import LocationLog, LogPosition, OpLog
from tsdb.storage.op import OpHeader, OpKind, chain_hash, decode_header, decode_op
from tsdb.storage.options import Options
from tsdb.storage.producers import Producers, database_of, scoped
from tsdb.storage.replica_log import ReplicaLog
from tsdb.storage.rocks import Rocks
from tsdb.storage.rows import COUNTER_MASK
from tsdb.storage.shard import Shard, delete_series, delete_values
from tsdb.storage.tagsets import TagSetIndex
from tsdb.storage.tombstone import AnyTombstone, decode_tombstone
from tsdb.storage.version import SeriesBlocks, Version

# Ops are decoded and applied in groups of about so many rows.
ROWS_A_GROUP = 200_000


def recover(path: Path, options: Options) -> Shard:
    """Open the data directory. Raises StartupError in one line."""
    rocks = Rocks.open(path, wal_bytes=options.wal_bytes)
    try:
        free = options.free_bytes(path)
        if free < options.reserve_bytes:
            raise StartupError(
                f"{path} has {free} bytes of free space, less than the reserve of {options.reserve_bytes}: free some"
            )
        with uncollected():
            shard = _load(path, rocks, options)
            _forget_carried_out(shard)
            _Replay(shard).run()
    except DataCorrupted as error:
        rocks.close()
        raise StartupError(
            f"the data in {path} is damaged and was not opened, so that nothing in it is lost: {error}; "
            "restore it from a backup or replace this node"
        ) from error
    except BaseException:
        rocks.close()
        raise
    return shard


def _load(path: Path, rocks: Rocks, options: Options) -> Shard:
    catalog = metadata.load(rocks)
    blocks = _load_blocks(rocks, catalog)
    _delete_unfinished(rocks, catalog, blocks)
    indexes = _load_tagsets(rocks, catalog)
    stones = {key: decode_tombstone(value) for key, value in rocks.scan("tombstones")}
    tombstones: dict[int, tuple[AnyTombstone, ...]] = {}
    for stone in stones.values():
        tombstones[stone.series] = (*tombstones.get(stone.series, ()), stone)
    producers = Producers(options.producers_max, int(options.producer_window * 1e9), options.clock)
    for name, value in state.load_producers(rocks):
        if database_of(name) in catalog.databases_by_number:
            producers.load(name, value)
    progress = state.load_progress(rocks)
    # What came after a continuous view's progress must have a higher counter: that is how it is found.
    counter = max(
        _highest_counter(rocks, blocks, stones.values()), max((p.counter for p in progress.values()), default=0)
    )
    known = identity.load(rocks)
    log = OpLog(options.clock, known.node if known is not None and known.joined else options.node_id, counter)
    log.shared.update(ReplicaLog(rocks).all())
    version = Version(
        catalog=catalog,
        blocks=blocks,
        tombstones=tombstones,
        tagsets={number: index.snapshot() for number, index in indexes.items()},
        progress=progress,
        erased=state.load_erased(rocks),
    )
    shard = Shard(path, rocks, options, version, log, producers, indexes)
    shard.stones_on_disk = stones
    return shard


def _forget_carried_out(shard: Shard) -> None:
    """Tombstones that hide nothing in blocks: masks of rows that were in a head, and are not in the log any more."""
    version = shard.version
    done = {
        series
        for series, stones in version.tombstones.items()
        if not all(hit_blocks(shard, stone, version.blocks.get(series, SeriesBlocks())).any() for stone in stones)
    }
    if done:
        batch = shard.rocks.batch()
        tombstones = keep_tombstones(shard, batch, list(shard.stones_on_disk.values()), version.blocks, done)
        state.put_counter(batch, shard.log.counter)
        shard.write_durably(batch)
        shard.publish(tombstones=tombstones)


def _delete_unfinished(rocks: Rocks, catalog: Catalog, blocks: Mapping[int, SeriesBlocks]) -> None:
    """Values of blocks that never got a header or have none any more, and all of dropped series."""
    batch = rocks.batch()
    for number, flushing in state.load_flushing(rocks):
        series_numbers = {series for series, _ in flushing.columns}
        ids = {series: blocks[series].ids if series in blocks else frozenset() for series in series_numbers}
        gaps = {series: _gaps(ids[series], flushing.first_block) for series in series_numbers}
        for series, column in flushing.columns:
            for low, high in gaps[series]:
                # Column 0 is the time in ``columns`` and the layout in ``summaries``; keys of both have one form.
                span = keys.column_key(series, column, low), keys.column_key(series, column, high)
                batch.delete_range("columns", *span)
                batch.delete_range("summaries", *span)
        for series in series_numbers:
            for low, high in gaps[series]:
                batch.delete_range("runs", keys.runs_key(series, low), keys.runs_key(series, high))
            if series not in catalog.series_by_number:
                delete_series(batch, series)
                delete_values(batch, series)
        state.delete_flushing(batch, number)
    for number, headers in state.load_retired(rocks):
        for header in headers:
            delete_block_values(batch, header)
        state.delete_retired(batch, number)
    for series in state.load_dropped(rocks):
        delete_values(batch, series)
    if len(batch):
        rocks.write(batch, sync=True)


def _gaps(ids: Iterable[int], first: int) -> list[tuple[int, int]]:
    """The half-open ranges of block ids from ``first`` on that none of ``ids`` is in."""
    taken = [first - 1, *sorted(each for each in ids if each >= first), 2**64 - 1]
    return [(low + 1, high) for low, high in pairwise(taken) if low + 1 < high]


def _load_blocks(rocks: Rocks, catalog: Catalog) -> dict[int, SeriesBlocks]:
    found: dict[int, list[BlockHeader]] = {}
    for key, value in rocks.scan("blocks"):
        header = BlockHeader.from_bytes(key, value)
        if header.series not in catalog.series_by_number:
            raise DataCorrupted(f"block {header.block_id} belongs to series {header.series}, which is not there")
        found.setdefault(header.series, []).append(header)
    return {series: SeriesBlocks().with_added(headers) for series, headers in found.items()}


def _load_tagsets(rocks: Rocks, catalog: Catalog) -> dict[int, TagSetIndex]:
    known = catalog.series_by_number
    records = ((*keys.unpack_tagset_key(key), value) for key, value in rocks.scan("tagsets"))
    return {
        number: TagSetIndex.load((tagset_id, value) for _, tagset_id, value in group)
        for number, group in groupby(records, itemgetter(0))
        if number in known
    }


def _highest_counter(rocks: Rocks, blocks: dict[int, SeriesBlocks], stones: Iterable[AnyTombstone]) -> int:
    highest = state.load_counter(rocks)
    for series in blocks.values():
        highest = max(highest, *(header.high_counter for header in series.headers))
    return max(highest, max((stone.counter & COUNTER_MASK for stone in stones), default=0))


class _Replay:
    """Applies the ops beyond the flushed positions."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._decoded = Decoded()
        self._databases: dict[int, int] = {}

    def run(self) -> None:
        shard = self._shard
        databases = shard.version.catalog.databases.values()
        flushed = state.load_flushed(shard.rocks)
        all_of_them = (each for database in databases for each in database.locations)
        own = (each for each in all_of_them if each.number not in shard.log.shared or self._has_ended(each, flushed))
        logs = [shard.log.log_of(location) for location in own]
        self._databases = {location.number: each.number for each in databases for location in each.locations}
        # All positions first: a head that is frozen half-way through must not forget the logs still to come.
        for log in logs:
            log.last = flushed.get(log.location.number, LogPosition())
            # An idle location gets no marker after a start: what it would find is not in the log any more.
            log.marked = log.last.sequence
        for log in logs:
            self._replay(log)
            log.ended = log.location.number in shard.log.shared
        self._apply()

    def _has_ended(self, location: Location, flushed: Mapping[int, LogPosition]) -> bool:
        """Whether there is still something of this node's own log of a location that has replicas."""
        return location.number in flushed or any(
            decode_header(op).shared is None for _, op in islice(self._ops(location.number), 1)
        )

    def _ops(self, location: int) -> Iterator[tuple[bytes, bytes]]:
        return self._shard.rocks.scan("ops", keys.number_prefix(location), keys.number_prefix(location + 1))

    def _replay(self, log: LocationLog) -> None:
        has_replica = log.location.number in self._shard.log.shared
        log.first = log.last.sequence + 1
        for key, op in self._ops(log.location.number):
            _, sequence = keys.unpack_op_key(key)
            if has_replica and decode_header(op).shared is not None:
                break
            log.first = min(log.first, sequence)
            if sequence <= log.last.sequence:
                continue
            header, body = decode_op(op)
            self._check(log, sequence, header)
            self._op(log, header, body)
            log.last = LogPosition(sequence, chain_hash(op))
            # Only between ops: then the position says exactly what is applied.
            if self._decoded.count >= ROWS_A_GROUP:
                self._apply()

    def _check(self, log: LocationLog, sequence: int, header: OpHeader) -> None:
        number, expected = log.location.number, log.last.sequence + 1
        if sequence != expected or header.sequence != sequence or header.location != number:
            raise DataCorrupted(f"op log of location {number}: op {sequence} is there where {expected} is due")
        if header.previous != log.last.chain:
            raise DataCorrupted(f"op log of location {number}: op {sequence} does not continue the chain of hashes")

    def _op(self, log: LocationLog, header: OpHeader, body: memoryview) -> None:
        if header.producer:
            producer = scoped(self._databases[header.location], Producer(header.producer, header.batch))
            of_log = (header.low, header.high), header.digest, header.wall_ns
            self._shard.producers.add(producer.name, producer.batch, *of_log)
        if header.kind in (OpKind.WRITE, OpKind.DELETE):
            name = f"op {header.sequence} of location {header.location}"
            self._decoded.add(self._shard, Logged(name, header.kind, header.first_counter, header.rows, body))
        elif header.kind is OpKind.MARKER:
            log.marked = header.sequence
        else:
            raise DataCorrupted(f"op {header.sequence} of location {header.location} is a {header.kind.name}")

    def _apply(self) -> None:
        shard = self._shard
        shard.apply(self._decoded.rows, self._decoded.tombstones)
        shard.tidy()
        self._decoded = Decoded()
        if shard.live_bytes >= shard.options.live_bytes:
            flush_now(shard, shard.freeze())
