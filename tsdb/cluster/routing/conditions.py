"""What a scan is asked for, as a message. Pure.

A condition on a tag is a function, and a function stays where it is: what travels are the values that pass. Where the
planner does not name them, the asked node's values of the tag are looked at first (``undecided``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from tsdb.cluster.routing.messages import Bound, CellsWanted, Conditions, NewestRows, Tag
from tsdb.errors import UndefinedTable
from tsdb.model.catalog import Catalog
from tsdb.model.store import FieldBound, Newest, ScanRequest, TagMatch, TimeRange
from tsdb.model.summaries import CellRequest

# msgpack has no other integers.
_LOWEST, _HIGHEST = -(2**63), 2**64 - 1


def undecided(request: ScanRequest) -> tuple[int, ...]:
    """The tags whose values have to be known before the request can be sent."""
    return tuple(dict.fromkeys(t.column for t in request.tags if t.values is None)) if request.prune else ()


def conditions_of(request: ScanRequest, values: Mapping[int, pa.Array]) -> Conditions:
    """``values`` of the asked node for the undecided tags."""
    newest, cells = request.newest, request.cells
    return Conditions(
        request.series.number,
        request.columns,
        request.range.low,
        request.range.high,
        tuple(_tag(each, values) for each in request.tags) if request.prune else (),
        tuple(Bound(each.column, _number(each.low), _number(each.high)) for each in request.bounds),
        request.prune,
        None if newest is None else NewestRows(newest.rows, newest.by, newest.oldest, newest.ties, newest.slack_us),
        None
        if cells is None
        else CellsWanted(
            cells.width_ns, cells.origin_ns, {c: tuple(names) for c, names in cells.statistics.items()}, cells.times
        ),
        request.within,
    )


def _tag(match: TagMatch, values: Mapping[int, pa.Array]) -> Tag:
    passing: Iterable[str | None]
    if match.values is not None:
        passing = match.values
    else:
        passing = [value for value in [*values[match.column].to_pylist(), None] if match.test(value)]
    return Tag(match.column, tuple(sorted(v for v in passing if v is not None)), None in passing)


def _number(value: float | int | None) -> float | int | None:
    """A bound that cannot be said is none: a scan may give more."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, int) and not _LOWEST <= value <= _HIGHEST else value


def request_of(sent: Conditions, catalog: Catalog) -> ScanRequest:
    """By the asked node's catalog. Raises UndefinedTable."""
    found = catalog.series_by_number.get(sent.series)
    if found is None:
        raise UndefinedTable(f"relation {sent.series} does not exist any more")
    newest, cells = sent.newest, sent.cells
    return ScanRequest(
        found[1],
        sent.columns,
        TimeRange(sent.low, sent.high),
        tuple(_match(each) for each in sent.tags),
        tuple(FieldBound(each.column, each.low, each.high) for each in sent.bounds),
        sent.prune,
        None if newest is None else Newest(newest.rows, newest.by, newest.oldest, newest.ties, newest.slack_us),
        None if cells is None else CellRequest(cells.width_ns, cells.origin_ns, cells.statistics, cells.times),
        sent.within,
    )


def _match(tag: Tag) -> TagMatch:
    values = frozenset([*tag.values, *([None] if tag.absent else [])])
    return TagMatch(tag.column, values.__contains__, values)
