"""Images of dictionaries that are kept from result to result: the same bytes as of plain texts."""

from __future__ import annotations

import gc
import random

import pyarrow as pa

from tsdb.types import TEXT
from tsdb.wire import TEXT_FORMAT
from tsdb.wire.images import _KNOWN
from tsdb.wire.known_images import BYTES_MAX, KNOWN_MAX, KnownImages
from tsdb.wire.rows import RowEncoder


def encoded(*arrays: pa.Array) -> bytes:
    encoder = RowEncoder([(TEXT, TEXT_FORMAT)] * len(arrays))
    return encoder.encode(pa.RecordBatch.from_arrays(list(arrays), [str(i) for i in range(len(arrays))]))


def test_dictionaries_that_come_and_go_are_written_as_their_texts() -> None:
    """Many of one length, freed in between, so that one comes to lie where another was."""
    rng = random.Random(5)
    lasting = [pa.array([f"tag {i} of {n}" for i in range(20)]) for n in range(3)]
    for number in range(3 * KNOWN_MAX):
        values = rng.choice([*lasting, pa.array([None, *(f"{number + i:07d}" for i in range(19))])])
        values = values.slice(rng.randrange(3), 15)
        codes = pa.array([rng.choice([None, *range(15)]) for _ in range(10)], pa.int32())
        tags = pa.DictionaryArray.from_arrays(codes, values)
        assert encoded(tags, tags) == encoded(*[tags.dictionary_decode()] * 2)
        if number % 50 == 0:
            gc.collect()
    assert len(_KNOWN) <= KNOWN_MAX


def test_the_oldest_are_forgotten() -> None:
    kept: KnownImages[int] = KnownImages()
    for number in range(KNOWN_MAX + 1):
        kept.put(number, object(), number)
        assert kept.get(0) == 0, "what is asked for again stays"
    assert kept.get(1) is None
    assert kept.get(0) == 0
    assert len(kept) == KNOWN_MAX


def test_dictionaries_of_long_texts_are_not_kept() -> None:
    for number in range(2):
        values = pa.array([f"{number} {i}" * (BYTES_MAX // 20) for i in range(20)])
        tags = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), values.slice(0, 2))
        assert encoded(tags) == encoded(tags.dictionary_decode())
    kept = [dictionary for dictionary, _ in _KNOWN._kept.values() if isinstance(dictionary, pa.Array)]
    assert all(each.get_total_buffer_size() <= BYTES_MAX for each in kept)
