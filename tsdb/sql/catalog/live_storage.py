"""What is in our own system views ``tsdb.blocks`` and ``tsdb.compactions``: what a session's database has on disk and
what is done with it (``live_continuous`` has another one, ``own_views`` their columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tsdb.model.catalog import Series
from tsdb.model.store import Block, Compaction
from tsdb.model.time import us_of_one
from tsdb.sql.catalog.live import Glance, Value, live
from tsdb.sql.catalog.live_views import schema_name
from tsdb.sql.catalog.outline import Entry
from tsdb.sql.catalog.own_views import SCHEMA
from tsdb.types import TIMESTAMPTZ


def _tables(glance: Glance) -> dict[int, Entry]:
    """Entries of tables by their series' number."""
    return {e.model.number: e for e in glance.outline.tables if isinstance(e.model, Series)}


def _of(function: Value) -> Value:
    return lambda row, glance: function(row[1], glance)


def _instant(ns: int | None) -> Any:
    return None if ns is None else pa.scalar(us_of_one(ns), TIMESTAMPTZ.arrow)


_ENTRY: dict[str, object] = {
    "relid": lambda row, m: row[0].oid, "schemaname": lambda row, m: schema_name(row[0], m),
    "relname": lambda row, m: row[0].name,
}  # fmt: skip


@live(SCHEMA, "blocks", {
    **_ENTRY, "block": _of(lambda b, m: b.number), "min_time": _of(lambda b, m: _instant(b.min_time_ns)),
    "max_time": _of(lambda b, m: _instant(b.max_time_ns)), "min_tagset": _of(lambda b, m: b.min_tagset),
    "max_tagset": _of(lambda b, m: b.max_tagset), "rows": _of(lambda b, m: b.rows),
    "columns": _of(lambda b, m: b.columns), "versions": _of(lambda b, m: not b.unique),
    "bytes": _of(lambda b, m: b.bytes), "summary_bytes": _of(lambda b, m: b.summary_bytes),
}, kept=False)  # fmt: skip
def blocks(glance: Glance) -> Sequence[tuple[Entry, Block]]:
    session = glance.context.session
    if session is None:
        return []
    return [
        (entry, block)
        for entry in _tables(glance).values()
        if isinstance(entry.model, Series)
        for block in session.blocks(entry.model)
    ]


@live(SCHEMA, "compactions", {
    **_ENTRY, "reason": _of(lambda c, m: c.reason),
    "state": _of(lambda c, m: "running" if c.finished_ns is None else "done"),
    "started_at": _of(lambda c, m: _instant(c.started_ns)), "finished_at": _of(lambda c, m: _instant(c.finished_ns)),
    "min_time": _of(lambda c, m: _instant(c.min_time_ns)), "max_time": _of(lambda c, m: _instant(c.max_time_ns)),
    "blocks_before": _of(lambda c, m: c.blocks_in), "blocks_after": _of(lambda c, m: c.blocks_out),
    "rows_before": _of(lambda c, m: c.rows_in), "rows_after": _of(lambda c, m: c.rows_out),
    "bytes_before": _of(lambda c, m: c.bytes_in), "bytes_after": _of(lambda c, m: c.bytes_out),
}, kept=False)  # fmt: skip
def compactions(glance: Glance) -> Sequence[tuple[Entry, Compaction]]:
    session = glance.context.session
    if session is None:
        return []
    tables = _tables(glance)
    return [(tables[c.series], c) for c in session.compactions() if c.series in tables]
