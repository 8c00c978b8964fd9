"""Which points of the store a transaction's deletions hide from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.session.pending.changes import Changes
from tsdb.session.pending.keys import KeyIndex

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# The counter's part of a sequence; the rest is the node.
_COUNTER = (1 << 48) - 1


class Hidden:
    """The deletions of one series' changes, ready to be asked for batches."""

    def __init__(self, changes: Changes) -> None:
        self.ranges = changes.ranges
        deleted = changes.deleted
        # How many points are named one by one.
        self.keys = 0 if deleted is None else len(deleted.times)
        self._keys: KeyIndex | None = None
        self.tagsets: Sequence[bytes] = ()
        self._sequences = np.empty(0, np.int64)
        if deleted is None:
            return
        sequences = np.zeros(len(deleted.times), np.int64) if deleted.sequences is None else deleted.sequences
        if not changes.series.keyed:
            # A sequence is unique in the whole cluster: it alone names a row. 0 stands for all rows of the key.
            self._sequences = np.unique(sequences[sequences != 0])
            unnamed = sequences == 0
            if not unnamed.any():
                return
            tagset, times, sequences = deleted.tagset[unnamed], deleted.times[unnamed], sequences[unnamed]
        else:
            tagset, times = deleted.tagset, deleted.times
        self._keys = KeyIndex(deleted.tagsets, tagset, times)
        self.tagsets = deleted.tagsets
        # The highest version that was seen: what others have written since stays. 0 stands for any version.
        self._seen = np.zeros(len(self._keys), np.int64)
        counters = np.where(sequences == 0, _COUNTER, sequences & _COUNTER)
        np.maximum.at(self._seen, self._keys.number, counters)

    def __bool__(self) -> bool:
        return bool(self.ranges or self._keys is not None or len(self._sequences))

    @property
    def everything(self) -> bool:
        """Whether one deletion hides all that there is (TRUNCATE)."""
        return any(each.range.low <= NS_MIN and each.range.high >= NS_MAX and not each.tags for each in self.ranges)

    def candidates(self, times: Int64s) -> Mask:
        """Rows whose tag sets have to be looked at."""
        return self._keys.may_hold(times) if self._keys is not None else np.zeros(len(times), np.bool_)

    def by_sequence(self, sequences: Int64s) -> Mask:
        return np.isin(sequences, self._sequences)

    def by_range(self, times: Int64s, tags: Mapping[int, pa.Array]) -> Mask:
        """``tags`` are the rows' tag columns by number."""
        found = np.zeros(len(times), np.bool_)
        for deletion in self.ranges:
            rows = (times >= deletion.range.low) & (times < deletion.range.high)
            for tag in deletion.tags:
                if rows.any():
                    rows &= _matches(tags[tag.column], tag.values, tag.negated)
            found |= rows
        return found

    def by_key(self, tagsets: list[bytes], tagset: npt.NDArray[np.int32], times: Int64s, sequences: Int64s) -> Mask:
        if self._keys is None or not len(times):
            return np.zeros(len(times), np.bool_)
        at = self._keys.find(tagsets, tagset, times)
        found: Mask = (at >= 0) & ((sequences & _COUNTER) <= self._seen[at])
        return found


def _matches(column: pa.Array, values: frozenset[str | None], negated: bool) -> Mask:
    if not isinstance(column, pa.DictionaryArray):
        column = column.dictionary_encode()
    texts = column.dictionary.to_pylist()
    tests = np.array([(text in values) != negated for text in texts] + [(None in values) != negated], np.bool_)
    rows: Mask = tests[column.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
    return rows
