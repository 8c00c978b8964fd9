"""Room for a walk's output, kept for the next body: memory that is taken anew for each is zeroed page by page, which
took as long as half of the walk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tsdb.ingest import kernel as k
from tsdb.ingest import kernel_names as kn
from tsdb.ingest.lexicon import Lexicon

# As many as bodies are parsed at once, usually; larger ones are not kept.
SPARE_MAX = 4
SPARE_BYTES_MAX = 48 << 20
T = TypeVar("T", np.int32, np.int64)


@dataclass(frozen=True, slots=True)
class Room:
    """Two arrays, of which an output's are views, one behind the other."""

    narrow: kn.Int32s
    wide: kn.Int64s

    @property
    def nbytes(self) -> int:
        return self.narrow.nbytes + self.wide.nbytes

    def output(self, text_bytes: int, size: int, lexicon: Lexicon) -> k.Output:
        """Of a text of so many bytes, ``size`` times as much as usual lines need."""
        rows, values = _capacities(text_bytes, size)
        self.wide[: k.STATE_SIZE] = 0
        row, value, slows, faults = _cut(
            self.narrow, (4, rows), (3, values), (3, values), (5, lexicon.limits.errors_max)
        )  # fmt: skip
        state, times, bits = _cut(self.wide, (1, k.STATE_SIZE), (1, rows), (1, values))
        state[0, : len(lexicon.counts)] = lexicon.counts
        names = lexicon.texts, lexicon.names, lexicon.slots, lexicon.tags
        return k.Output(state[0], *names, row, times[0], value, bits[0], slows, faults)


def _cut(array: npt.NDArray[T], *shapes: tuple[int, int]) -> Iterator[npt.NDArray[T]]:
    """Pieces of an array, each behind the one before."""
    at = 0
    for columns, capacity in shapes:
        yield array[at : at + columns * capacity].reshape(columns, capacity)
        at += columns * capacity


def _capacities(text_bytes: int, size: int) -> tuple[int, int]:
    """Rows and values."""
    return size * (text_bytes // 64 + 64), size * (text_bytes // 12 + 64)


_spare: list[Room] = []


def taken(text_bytes: int, size: int, errors_max: int) -> Room:
    """Room for ``output`` with the same arguments, to be given back when nothing of the output is needed."""
    rows, values = _capacities(text_bytes, size)
    narrow = 4 * rows + 6 * values + 5 * errors_max
    wide = k.STATE_SIZE + rows + values
    try:
        room = _spare.pop()
    except IndexError:
        pass
    else:
        if len(room.narrow) >= narrow and len(room.wide) >= wide:
            return room
    # Bodies of one sender are about equally long: the next shall find room, too.
    return Room(np.empty(narrow + narrow // 8, np.int32), np.empty(wide + wide // 8, np.int64))


def give_back(room: Room) -> None:
    if len(_spare) < SPARE_MAX and room.nbytes <= SPARE_BYTES_MAX:
        _spare.append(room)
