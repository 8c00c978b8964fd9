"""The effects of a COMMIT taken apart by the node that leads their locations. Pure.

A point and its earlier versions are in one location, so what a write depends on goes where its point goes, unless it
changes the point's time: then what is replaced is one node's to check and to hide, and the new point may be another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tsdb.errors import UndefinedTable
from tsdb.model.byte_strings import ByteStrings
from tsdb.model.catalog import Catalog
from tsdb.model.places import places_in
from tsdb.model.ring import Location
from tsdb.model.schema import Database, Series
from tsdb.model.store import Effect, Free, KeyDeletion, RangeDeletion, TimeRange, Write

Rows = npt.NDArray[np.intp]
InRange = Callable[[Database, Series, TimeRange], Sequence[Location]]


@dataclass(slots=True)
class Share:
    """What one node does of them, in which of its locations."""

    effects: list[Effect] = field(default_factory=list)
    locations: set[int] = field(default_factory=set)

    @property
    def conditional(self) -> bool:
        """Whether it may be refused because something has changed."""
        for effect in self.effects:
            if isinstance(effect, Write):
                if effect.replaces or effect.updates or effect.depends or effect.free is not None:
                    return True
            elif isinstance(effect, RangeDeletion):
                if effect.if_empty:
                    return True
            elif effect.sequences is not None:
                return True
        return False


def shares_of(
    effects: Sequence[Effect],
    database_of: Callable[[Effect], Database],
    leader_of: Callable[[Location], int],
    in_range: InRange,
) -> dict[int, Share]:
    """By node, each with its effects in order. ``in_range``: the locations that may hold points of a range."""
    taking = _Taking(leader_of)
    for effect in effects:
        database = database_of(effect)
        if isinstance(effect, RangeDeletion):
            there = in_range(database, effect.series, effect.range)
            sent = replace(effect, slots=database.slots_of(effect.series.number))
            for location in there:
                taking.share(location).locations.add(location.number)
            for node in dict.fromkeys(map(leader_of, there)):
                taking.found[node].effects.append(sent)
        elif isinstance(effect, KeyDeletion):
            for node, rows in taking.rows(database, effect.series, effect.times).items():
                taking.found[node].effects.append(_taken_keys(effect, rows))
        else:
            _take_write(taking, database, effect)
    return taking.found


class _Taking:
    def __init__(self, leader_of: Callable[[Location], int]) -> None:
        self._leader_of = leader_of
        self.found: dict[int, Share] = {}

    def share(self, location: Location) -> Share:
        return self.found.setdefault(self._leader_of(location), Share())

    def rows(self, database: Database, series: Series, times: npt.NDArray[np.int64]) -> dict[int, Rows | None]:
        """The rows of each node, in order; None means all of them."""
        rows: dict[int, list[Rows | None]] = {}
        for location, chosen in places_in(database, series.number).cut(database.locations, times):
            self.share(location).locations.add(location.number)
            rows.setdefault(self._leader_of(location), []).append(chosen)
        if len(rows) == 1:
            return dict.fromkeys(rows)
        return {
            node: np.sort(np.concatenate([part for part in parts if part is not None])) for node, parts in rows.items()
        }


def _take_write(taking: _Taking, database: Database, write: Write) -> None:
    series = write.points.series
    points = taking.rows(database, series, write.points.times)
    named = {
        name: {} if keys is None else taking.rows(database, series, keys.times)
        for name, keys in (("replaces", write.replaces), ("updates", write.updates), ("depends", write.depends))
    }
    for node in dict.fromkeys([*points, *(node for rows in named.values() for node in rows)]):
        keys = {
            name: _taken_keys(found, rows[node])
            for name, rows in named.items()
            if node in rows and (found := getattr(write, name)) is not None
        }
        rows = points[node] if node in points else np.empty(0, np.intp)
        taking.found[node].effects.append(
            Write(
                write.points if rows is None else write.points.take(rows),
                keys.get("replaces"), keys.get("updates"), keys.get("depends"),
                None if write.free is None else _taken_free(write.free, rows),
            )
        )  # fmt: skip


def _taken_keys(keys: KeyDeletion, rows: Rows | None) -> KeyDeletion:
    if rows is None:
        return keys
    used, tagset = np.unique(keys.tagset[rows], return_inverse=True)
    return replace(
        keys,
        tagsets=ByteStrings.of(keys.tagsets).take(used),
        tagset=tagset.astype(np.int32),
        times=keys.times[rows],
        sequences=None if keys.sequences is None else keys.sequences[rows],
    )


def _taken_free(free: Free, rows: Rows | None) -> Free:
    return free if rows is None else replace(free, since=free.since[rows], again=free.again[rows])


def database_of(catalog: Catalog, effect: Effect) -> Database:
    """By number: names may have changed since the statement. Raises UndefinedTable."""
    return series_at(catalog, series_of(effect))


def series_at(catalog: Catalog, series: Series) -> Database:
    """The database of a series, by number. Raises UndefinedTable."""
    found = catalog.series_by_number.get(series.number)
    if found is None:
        raise UndefinedTable(f'relation "{series.name}" does not exist any more')
    return found[0]


def series_of(effect: Effect) -> Series:
    return effect.points.series if isinstance(effect, Write) else effect.series
