"""Retention: when a series' floor, the logged instant below which its points are gone, has to rise.

The floor never moves back, and it moves in steps, so that a schema change is logged now and then and not all the time.
"""

from __future__ import annotations

from tsdb.model.schema import Catalog, SetRetention
from tsdb.model.time import NS_PER_SECOND, clamp_ns

# A floor rises when it lags by this part of the retention, but at most once a minute.
_LAG_PART = 1000
_LAG_MIN_NS = 60 * NS_PER_SECOND


def due(catalog: Catalog, now_ns: int) -> tuple[SetRetention, ...]:
    """The floors to raise at ``now_ns``; empty when all are high enough."""
    changes = []
    for database in catalog.databases.values():
        for series in database.series.values():
            if series.retention_ns is None:
                continue
            floor = clamp_ns(now_ns - series.retention_ns)
            lag = max(series.retention_ns // _LAG_PART, _LAG_MIN_NS)
            if series.floor_ns is None or floor - series.floor_ns >= lag:
                changes.append(SetRetention(database.name, series.name, series.retention_ns, floor))
    return tuple(changes)
