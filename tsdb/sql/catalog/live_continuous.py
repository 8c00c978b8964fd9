"""``tsdb.continuous_aggregates``: how far the continuous views of a session's database are stored, and their runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tsdb.model.catalog import Series
from tsdb.model.time import NS_MAX, NS_MIN, instant_text, us_of_one
from tsdb.sql.catalog.live import Glance, live
from tsdb.sql.catalog.live_views import schema_name
from tsdb.sql.catalog.outline import Entry
from tsdb.sql.catalog.own_views import SCHEMA
from tsdb.sql.continuous.state import ContinuousState
from tsdb.types import TIMESTAMPTZ

Row = tuple[Entry, Series, ContinuousState]
# A view with more dirty spans shows the first of them.
_SPANS_MAX = 100


def _instant(ns: int | None) -> Any:
    return None if ns is None or ns == NS_MIN else pa.scalar(us_of_one(ns), TIMESTAMPTZ.arrow)


def _interval(ns: int) -> Any:
    return pa.MonthDayNano([0, 0, ns])


def _range(span: tuple[int, int]) -> str:
    low, high = span
    return f"[{'' if low == NS_MIN else instant_text(low)},{'' if high == NS_MAX else instant_text(high)})"


@live(SCHEMA, "continuous_aggregates", {
    "relid": lambda r, m: r[0].oid, "schemaname": lambda r, m: schema_name(r[0], m), "relname": lambda r, m: r[0].name,
    "source": lambda r, m: r[2].source, "materialized_only": lambda r, m: r[1].continuous.stored_only,
    "refresh_lag": lambda r, m: _interval(r[1].continuous.lag_ns),
    "refresh_interval": lambda r, m: _interval(r[1].continuous.every_ns),
    "watermark": lambda r, m: _instant(r[2].watermark_ns), "history_until": lambda r, m: _instant(r[2].history_ns),
    "dirty": lambda r, m: [_range(span) for span in r[2].dirty[:_SPANS_MAX]],
    "last_run": lambda r, m: _instant(r[2].started_ns), "runs": lambda r, m: r[2].runs,
    "failures": lambda r, m: r[2].failures, "seconds": lambda r, m: r[2].seconds, "error": lambda r, m: r[2].error,
}, kept=False)  # fmt: skip
def continuous_aggregates(glance: Glance) -> Sequence[Row]:
    session = glance.context.session
    if session is None:
        return []
    entries = [
        (e, e.model) for e in glance.outline.tables if isinstance(e.model, Series) and e.model.continuous is not None
    ]
    states = session.continuous([series for _, series in entries])
    return [(e, series, states[series.number]) for e, series in entries if series.number in states]
