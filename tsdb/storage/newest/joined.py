"""Tails of many blocks as one: whoever asks for the last points of all tag sets again finds one table of them.

Of fifty blocks ten columns are five hundred short pieces, each with its calls. Which blocks are the newest changes only
with a flush or a compaction; what is not in blocks yet, or may be hidden, is looked at beside them each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from tsdb.model.schema import Column
from tsdb.storage.newest.found import fetch
from tsdb.storage.newest.from_summaries import fill
from tsdb.storage.newest.tails import BlockTails, Tails, TailsCache, TailsOf
from tsdb.storage.summaries.read import SummaryReader

# Fewer are not worth a table of their own.
JOINED_MIN = 4


class JoinedTails(TailsOf):
    """The tails of some blocks of a series, one behind the other; ``rows`` are places among all of them."""

    def __init__(self, tails: Sequence[BlockTails], cache: TailsCache, summaries: SummaryReader) -> None:
        self._tails = tails
        self._cache = cache
        self._summaries = summaries
        first = tails[0]
        self._key = (first.header.series, tuple(each.header.block_id for each in tails), first.oldest)

    def rows(self) -> Tails:
        found = self._cache.get(self._key)
        if found is not None:
            return found
        each = [tails.rows() for tails in self._tails]
        tagset, times = np.concatenate([one.tagset for one in each]), np.concatenate([one.times for one in each])
        return self._keep(Tails(tagset, times, np.arange(len(times))))

    def with_columns(self, columns: Iterable[Column], *, sequences: bool) -> Tails:
        joined = self.rows()
        missing = [column for column in columns if column.number not in joined.columns]
        lacks_sequences = sequences and joined.sequences is None
        if not missing and not lacks_sequences:
            return joined
        fill(self._tails, missing, self._summaries)
        counts = [len(tails.rows().rows) for tails in self._tails]
        source = np.repeat(np.arange(len(counts)), counts)
        row = np.concatenate([np.arange(count) for count in counts])
        fetched = fetch(self._tails, source, row, missing, sequences=lacks_sequences)
        made = {**joined.columns, **{column.number: fetched.columns.get(column.number) for column in missing}}
        kept = fetched.sequences if lacks_sequences else joined.sequences
        return self._keep(replace(joined, columns=made, sequences=kept))

    def _keep(self, tails: Tails) -> Tails:
        self._cache.put(self._key, tails)
        return tails
