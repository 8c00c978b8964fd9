"""Names that earlier bodies brought: series keys with their tags, measurements, tag keys, field keys.

Most writers send the same series again and again. A walk that begins with the names of the bodies before finds every
series key by one comparison, and what was made of a set of series keys (their tags in columns, their tag sets by value)
is made once. Names are only added, so that whoever still looks at older ones is not disturbed; a table that is full is
emptied, and so is one to which a body of new series was added: its writer seldom repeats itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tsdb.ingest import kernel_names as kn
from tsdb.ingest.faults import Limits
from tsdb.model.byte_strings import Bytes

# As many as bodies are parsed at once, usually; larger ones are not kept.
SPARE_MAX = 4
SPARE_BYTES_MAX = 32 << 20
# So few new names say nothing about their writer.
NEW_MIN = 256
# Sets of series keys that are kept as a whole.
MADE_MAX = 1000
# Names that are kept decoded.
DECODED_MAX = 4096
# A small body leaves room for the names of others.
ROWS_MIN = 4096


@dataclass(slots=True)
class Lexicon:
    """The table of names of ``kernel_names``; ``counts`` are the state's first places. One body's walk at a time.

    ``recalled`` names are of earlier bodies. ``limits`` are those that names were checked by; ``escapes``: one of them
    may have a backslash. ``made``: what was made of the series keys that a body had of a measurement, by the
    measurement's number, the first and how many; ``decoded``: tag keys and field keys by their numbers.
    """

    limits: Limits
    texts: Bytes
    names: kn.Names
    slots: kn.Int32s
    tags: kn.Names
    counts: kn.Int64s
    escapes: bool = False
    recalled: int = 0
    stale: bool = False
    made: dict[tuple[int, int, int], Any] = field(default_factory=dict)
    made_tags: int = 0
    decoded: dict[int, str] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return self.texts.nbytes + self.names.nbytes + self.slots.nbytes + self.tags.nbytes

    def begin(self, escapes: bool) -> None:
        """Before a walk: what names remember of the last body's lines is forgotten."""
        self.names[kn.SEEN, : self.counts[kn.NAMES]] = -1
        self.escapes = self.escapes or escapes

    def learn(self, state: kn.Int64s, rows: int = 0) -> None:
        """After a walk of so many good lines."""
        self.counts[:] = state[: len(self.counts)]
        self.stale = self.recalled > 0 and int(self.counts[kn.NAMES]) - self.recalled > max(rows // 2, NEW_MIN)

    def keep(self, which: tuple[int, int, int], made: Any, tags: int) -> None:
        """What was made of series keys that have so many tags."""
        self.made_tags += tags
        if len(self.made) >= MADE_MAX or self.made_tags > self.tags.shape[1]:
            self.made.clear()
            self.made_tags = tags
        self.made[which] = made

    def remember(self, name: int, text: str) -> None:
        """What a tag key or field key is when it is decoded."""
        if len(self.decoded) < DECODED_MAX:
            self.decoded[name] = text

    def cleared(self, limits: Limits) -> Lexicon:
        """The same room without the names. What was made of them goes on to have its own texts."""
        self.slots.fill(0)
        self.counts.fill(0)
        # Others may look at the texts that there were.
        return Lexicon(limits, np.empty_like(self.texts), self.names, self.slots, self.tags, self.counts)


_spare: list[Lexicon] = []


def taken(text_bytes: int, size: int, limits: Limits, recall: bool) -> Lexicon:
    """Room for the names of a text of so many bytes, ``size`` times as much as usual lines need; with the names of
    other bodies if ``recall``. To be given back after the walk."""
    rows = max(size * (text_bytes // 64 + 64), ROWS_MIN)
    try:
        found = _spare.pop() if recall else None
    except IndexError:
        found = None
    if found is not None and found.names.shape[1] >= rows:
        if found.limits != limits or found.stale:
            return found.cleared(limits)
        found.recalled = int(found.counts[kn.NAMES])
        return found
    # Bodies of one sender are about equally long: the next shall find room, too.
    rows += rows // 8
    return Lexicon(
        limits,
        np.empty(rows * 128, np.uint8),
        np.empty((kn.NAME_COLUMNS, rows), np.int32),
        np.zeros(1 << (2 * rows - 1).bit_length(), np.int32),
        np.empty((3, rows * 8), np.int32),
        np.zeros(kn.TEXT + 1, np.int64),
    )


def give_back(lexicon: Lexicon) -> None:
    if len(_spare) < SPARE_MAX and lexicon.nbytes <= SPARE_BYTES_MAX:
        _spare.append(lexicon)
