"""RowDescriptions that are kept: a plan that is kept has one tuple of columns, and its description stays the same.

Of twenty columns one takes 80 µs to make, more than all else that the event loop does for a small result (measured).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from tsdb.sql.result import ResultColumn
from tsdb.wire import FieldDescription
from tsdb.wire.backend import row_description

DESCRIPTIONS_MAX = 512


class Descriptions:
    """At most ``DESCRIPTIONS_MAX``, those that were asked for last. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The columns are kept with what was made of them: no other tuple can come to lie where they are.
        self._kept: OrderedDict[tuple[int, tuple[int, ...], str], tuple[Sequence[ResultColumn], bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, columns: tuple[ResultColumn, ...], formats: Sequence[int], codec: str) -> bytes:
        """The message for a client whose texts are in ``codec``."""
        key = id(columns), tuple(formats), codec
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found[1]
        fields = [
            FieldDescription(c.name, c.type, code, c.table_oid, c.attnum, c.typmod)
            for c, code in zip(columns, formats, strict=True)
        ]
        made = row_description(fields, codec)
        with self._lock:
            self._kept[key] = columns, made
            while len(self._kept) > DESCRIPTIONS_MAX:
                self._kept.popitem(last=False)
        return made


DESCRIPTIONS = Descriptions()
