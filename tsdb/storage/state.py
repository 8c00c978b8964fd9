"""Records of the engine in ``state``: flushed positions, the counter, producers, what is unfinished, how far
continuous views go.

All of them are written with the batch whose work they describe, and read once, at start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import mmh3
import msgspec

from tsdb.errors import DataCorrupted
from tsdb.model.continuous import Progress
from tsdb.model.ring import RING_SIZE
from tsdb.storage import keys
from tsdb.storage.block import BlockHeader
from tsdb.storage.frame import seal, unseal
from tsdb.storage.log import LogPosition
from tsdb.storage.rocks import Batch, Rocks
from tsdb.storage.tombstone import Erasure

MAGIC = b"TE"
VERSION = 1

FLUSHED = "flushed"
COUNTER = "counter"
PRODUCER = "producer"
FLUSHING = "flushing"
DROPPED = "dropped"
RETIRED = "retired"
PROGRESS = "progress"
ERASED = "erased"

T = TypeVar("T")
_encode = msgspec.msgpack.encode


class Flushing(msgspec.Struct, array_like=True):
    """A flush or compaction that has begun: of these (series, column) values from ``first_block`` on belong to no block
    unless it has a header."""

    first_block: int
    columns: list[tuple[int, int]]


def put_flushed(batch: Batch, positions: Mapping[int, LogPosition]) -> None:
    for location, position in positions.items():
        value = seal(MAGIC, VERSION, _encode((position.sequence, position.chain)))
        batch.put("state", keys.state_key(FLUSHED, location), value)


def delete_flushed(batch: Batch, locations: Iterable[int]) -> None:
    for location in locations:
        batch.delete("state", keys.state_key(FLUSHED, location))


def load_flushed(rocks: Rocks) -> dict[int, LogPosition]:
    return {
        numbers[0]: LogPosition(*_decode(value, FLUSHED, tuple[int, bytes]))
        for numbers, value in _records(rocks, FLUSHED)
    }


def put_counter(batch: Batch, counter: int) -> None:
    batch.put("state", keys.state_key(COUNTER), seal(MAGIC, VERSION, _encode(counter)))


def load_counter(rocks: Rocks) -> int:
    value = rocks.get("state", keys.state_key(COUNTER))
    return 0 if value is None else _decode(value, COUNTER, int)


def put_producers(batch: Batch, producers: Mapping[str, bytes]) -> None:
    """Producers by name as they are encoded; an empty one is forgotten."""
    for name, entry in producers.items():
        # Keys are numbers: 128 bits of the name's hash; the name itself is in the value.
        key = keys.state_key(PRODUCER, *mmh3.hash64(name, signed=False))
        if entry:
            batch.put("state", key, seal(MAGIC, VERSION, _encode((name, entry))))
        else:
            batch.delete("state", key)


def load_producers(rocks: Rocks) -> Iterator[tuple[str, bytes]]:
    for _, value in _records(rocks, PRODUCER):
        yield _decode(value, PRODUCER, tuple[str, bytes])


def put_flushing(batch: Batch, number: int, flushing: Flushing) -> None:
    batch.put("state", keys.state_key(FLUSHING, number), seal(MAGIC, VERSION, _encode(flushing)))


def delete_flushing(batch: Batch, number: int) -> None:
    batch.delete("state", keys.state_key(FLUSHING, number))


def load_flushing(rocks: Rocks) -> list[tuple[int, Flushing]]:
    return [(numbers[0], _decode(value, FLUSHING, Flushing)) for numbers, value in _records(rocks, FLUSHING)]


class Retired(msgspec.Struct, array_like=True):
    """Blocks whose headers are gone and whose values may still be there because a view reads them."""

    headers: list[tuple[bytes, bytes]]


def put_retired(batch: Batch, number: int, headers: Iterable[BlockHeader]) -> None:
    retired = Retired([(header.key, header.to_bytes()) for header in headers])
    batch.put("state", keys.state_key(RETIRED, number), seal(MAGIC, VERSION, _encode(retired)))


def delete_retired(batch: Batch, number: int) -> None:
    batch.delete("state", keys.state_key(RETIRED, number))


def load_retired(rocks: Rocks) -> Iterator[tuple[int, list[BlockHeader]]]:
    """By number, blocks that have no header any more. Raises DataCorrupted."""
    for numbers, value in _records(rocks, RETIRED):
        retired = _decode(value, RETIRED, Retired)
        yield numbers[0], [BlockHeader.from_bytes(key, header) for key, header in retired.headers]


def put_dropped(batch: Batch, series: int) -> None:
    """The series is gone from the catalog, its values may still be there because a view reads them."""
    batch.put("state", keys.state_key(DROPPED, series), seal(MAGIC, VERSION))


def delete_dropped(batch: Batch, series: int) -> None:
    batch.delete("state", keys.state_key(DROPPED, series))


def load_dropped(rocks: Rocks) -> list[int]:
    return [numbers[0] for numbers, _ in _records(rocks, DROPPED)]


def put_progress(batch: Batch, series: int, progress: Progress) -> None:
    value = seal(MAGIC, VERSION, _encode((progress.counter, progress.watermark_ns)))
    batch.put("state", keys.state_key(PROGRESS, series), value)


def load_progress(rocks: Rocks) -> dict[int, Progress]:
    return {
        numbers[0]: Progress(*_decode(value, PROGRESS, tuple[int, int])) for numbers, value in _records(rocks, PROGRESS)
    }


def put_erased(batch: Batch, series: int, erased: Sequence[Erasure]) -> None:
    """What forgotten tombstones of a source of continuous views had deleted; nothing takes the record away."""
    key = keys.state_key(ERASED, series)
    if erased:
        batch.put("state", key, seal(MAGIC, VERSION, _encode([_erasure_numbers(each) for each in erased])))
    else:
        batch.delete("state", key)


def _erasure_numbers(erasure: Erasure) -> tuple[int, ...]:
    """As version 1 had them, with the first and the last hash where that is not all of the ring."""
    low, high = erasure.ring_low, erasure.ring_high
    return erasure[:3] if (low, high) == (0, RING_SIZE) else (*erasure[:3], low, high - 1)


def load_erased(rocks: Rocks) -> dict[int, tuple[Erasure, ...]]:
    return {
        numbers[0]: tuple(
            Erasure(*each[:3], *((each[3], each[4] + 1) if each[3:] else ()))
            for each in _decode(value, ERASED, list[tuple[int, ...]])
        )
        for numbers, value in _records(rocks, ERASED)
    }


def delete_continuous(batch: Batch, series: int) -> None:
    """What is known of a dropped series as a continuous view, or as a source of some."""
    batch.delete("state", keys.state_key(PROGRESS, series))
    batch.delete("state", keys.state_key(ERASED, series))


def _records(rocks: Rocks, name: str) -> Iterator[tuple[tuple[int, ...], bytes]]:
    prefix = keys.state_key(name)
    for key, value in rocks.scan("state", prefix, keys.after(prefix)):
        yield keys.unpack_state_key(key)[1], value


def _decode(value: bytes, what: str, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(unseal(value, MAGIC, VERSION, what), type=kind)
    except msgspec.DecodeError as error:
        raise DataCorrupted(f"{what}: {error}") from error
