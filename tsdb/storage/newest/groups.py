"""Groups: the tag sets that are equal in some tags, by number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsdb.storage.tagsets import TagSets

Int64s = npt.NDArray[np.int64]

# Numbers may be sparse as long as a table by group stays in proportion to the tag sets.
_SPARSE_MAX = 4
_SPARSE_FREE = 4096


def groups_of(tagsets: TagSets, by: Sequence[int]) -> tuple[Int64s, int]:
    """(the group of each tag set by its id, a number above all groups)."""
    groups, total = np.zeros(tagsets.count, np.int64), 1
    for column in by:
        codes, values = tagsets.column(column)
        size = len(values) + 1
        # An absent tag has the code −1: a value like any other here.
        groups, total = groups * size + (codes + 1), total * size
        if total > _SPARSE_MAX * tagsets.count + _SPARSE_FREE:
            distinct, groups = np.unique(groups, return_inverse=True)
            total = len(distinct)
    return groups, max(total, 1)
