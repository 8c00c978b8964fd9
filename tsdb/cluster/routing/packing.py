"""Effects as messages: their shape in the question, their columns as blobs in its body. Pure.

Points and keys have the encodings that they have in ops. What a statement has seen is named by the views of the asked
node in which it saw it; the asked node knows which moments these are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from tsdb.cluster.routing.messages import EffectSent, FreeSent, KeysSent, Numbered, RangeSent, SlotsKnown
from tsdb.errors import DataCorrupted, ProtocolViolation, UndefinedTable
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.catalog import Catalog
from tsdb.model.points import Int64s, Points
from tsdb.model.ring import RING_SIZE, Slots
from tsdb.model.schema import Series
from tsdb.model.store import (
    Effect,
    Free,
    KeyDeletion,
    Moment,
    Producer,
    RangeDeletion,
    TagIn,
    TimeRange,
    Write,
)
from tsdb.storage.body import decode_write, encode_write
from tsdb.storage.tombstone import MAX_KEYS, KeyTombstone, decode_tombstones, encode_tombstones

ViewsOf: TypeAlias = Callable[[Sequence[Moment]], tuple[int, ...]]
"""The views of the asked node that belong to moments of this one's."""
SinceOf: TypeAlias = Callable[[Free], Int64s]
"""Up to which counters of the asked node the statement looked."""
MomentsOf: TypeAlias = Callable[[Sequence[int]], tuple[Moment, ...]]
Sent: TypeAlias = RangeSent | KeysSent | EffectSent


def numbered(producer: Producer | None) -> Numbered | None:
    return None if producer is None else Numbered(producer.name, producer.batch, producer.digest, producer.session)


def producer_of(sent: Numbered | None) -> Producer | None:
    return None if sent is None else Producer(sent.producer, sent.batch, sent.digest, sent.session)


def known(slots: Sequence[Slots]) -> SlotsKnown:
    return tuple((each.from_bucket, each.bits, each.settled, each.counter) for each in slots)


# There


class Packing:
    """Effects of one question: ``sent`` and ``blobs`` grow with each."""

    def __init__(self, views_of: ViewsOf, since_of: SinceOf) -> None:
        self._views_of = views_of
        self._since_of = since_of
        self.sent: list[Sent] = []
        self.blobs: list[bytes] = []

    def add(self, effect: Effect) -> None:
        if isinstance(effect, RangeDeletion):
            tags = tuple(
                (tag.column, tuple(sorted(v for v in tag.values if v is not None)), None in tag.values, tag.negated)
                for tag in effect.tags
            )
            span = effect.range
            slots = None if effect.slots is None else known(effect.slots)
            self.sent.append(RangeSent(effect.series.number, span.low, span.high, tags, effect.if_empty, slots))
        elif isinstance(effect, KeyDeletion):
            self.sent.append(self._keys(effect))
        else:
            self.blobs.append(encode_write([effect.points]))
            named = (effect.replaces, effect.updates, effect.depends)
            replaces, updates, depends = (None if each is None else self._keys(each) for each in named)
            free = None
            if effect.free is not None:
                free = FreeSent(self._views_of(effect.free.moments))
                self.blobs.append(np.ascontiguousarray(self._since_of(effect.free), "<i8").tobytes())
                self.blobs.append(np.ascontiguousarray(effect.free.again, np.bool_).tobytes())
            self.sent.append(EffectSent(replaces, updates, depends, free))

    def _keys(self, keys: KeyDeletion) -> KeysSent:
        tagsets = ByteStrings.of(keys.tagsets)
        stones = [
            self._stone(keys, tagsets, slice(start, start + MAX_KEYS))
            for start in range(0, max(1, len(keys.times)), MAX_KEYS)
        ]
        self.blobs.append(encode_tombstones(stones))
        return KeysSent(keys.series.number, keys.sequences is not None, self._views_of(keys.moments))

    @staticmethod
    def _stone(keys: KeyDeletion, tagsets: ByteStrings, rows: slice) -> KeyTombstone:
        used, tagset = np.unique(keys.tagset[rows], return_inverse=True)
        return KeyTombstone(
            keys.series.number, 0, RING_SIZE, 0, tuple(tagsets.take(used)), tagset.astype(np.int32), keys.times[rows],
            None if keys.sequences is None else keys.sequences[rows],
        )  # fmt: skip


# And back


class Unpacking:
    """What came as effects again, by the catalog of this node. Raises UndefinedTable, ProtocolViolation."""

    def __init__(self, catalog: Catalog, sizes: Sequence[int], body: memoryview, moments_of: MomentsOf) -> None:
        self._catalog = catalog
        self._moments_of = moments_of
        if sum(sizes) != len(body) or any(size < 0 for size in sizes):
            raise ProtocolViolation(f"a commit of {len(body)} bytes is said to have {sum(sizes)}")
        self._blobs = _cut(body, sizes)

    def effects(self, sent: Sequence[Sent]) -> list[Effect]:
        try:
            return [self._effect(each) for each in sent]
        except (StopIteration, DataCorrupted, ValueError) as error:
            raise ProtocolViolation(f"a commit cannot be read: {error}") from None

    def _series(self, number: int) -> Series:
        found = self._catalog.series_by_number.get(number)
        if found is None:
            raise UndefinedTable(f"relation {number} does not exist any more")
        return found[1]

    def _effect(self, sent: Sent) -> Effect:
        if isinstance(sent, RangeSent):
            tags = tuple(
                TagIn(column, frozenset([*values, *([None] if absent else [])]), negated)
                for column, values, absent, negated in sent.tags
            )
            slots = None if sent.slots is None else tuple(Slots(*each) for each in sent.slots)
            span = TimeRange(sent.low, sent.high)
            return RangeDeletion(self._series(sent.series), span, tags, sent.if_empty, slots)
        if isinstance(sent, KeysSent):
            return self._keys(sent)
        points = self.points(next(self._blobs))
        replaces, updates, depends = (
            None if each is None else self._keys(each) for each in (sent.replaces, sent.updates, sent.depends)
        )
        free = None
        if sent.free is not None:
            since = np.frombuffer(next(self._blobs), "<i8").astype(np.int64)
            again = np.frombuffer(next(self._blobs), np.bool_)
            free = Free(since, again, self._moments_of(sent.free.views) or (Moment(0, 0),))
        return Write(points, replaces, updates, depends, free)

    def points(self, blob: memoryview) -> Points:
        (only,) = points_of(blob, self._series)
        return only

    def _keys(self, sent: KeysSent) -> KeyDeletion:
        tagsets: list[bytes] = []
        tagset, times, sequences = [], [], []
        for stone in decode_tombstones(next(self._blobs)):
            if not isinstance(stone, KeyTombstone):
                raise ProtocolViolation("points are named by their keys")
            tagset.append(stone.tagset + np.int32(len(tagsets)))
            times.append(stone.times)
            tagsets += stone.tagsets
            if stone.sequences is not None:
                sequences.append(stone.sequences)
        return KeyDeletion(
            self._series(sent.series), tagsets, np.concatenate(tagset), np.concatenate(times),
            np.concatenate(sequences) if sent.has_sequences else None, self._moments_of(sent.views),
        )  # fmt: skip


def points_of(body: memoryview, series_of: Callable[[int], Series]) -> list[Points]:
    """The points of an op's body. Raises DataCorrupted, and what ``series_of`` raises."""
    return [
        Points(series_of(each.series), each.times, each.tagsets, each.tagset, each.fields)
        for each in decode_write(body)
    ]


def _cut(body: memoryview, sizes: Sequence[int]) -> Iterator[memoryview]:
    start = 0
    for size in sizes:
        yield body[start : start + size]
        start += size
