"""What must still hold of what a COMMIT's effects rest on when they are logged."""

from __future__ import annotations

from collections.abc import Iterable

from tsdb.cluster.led import locations_in_range
from tsdb.cluster.routing.shares import series_at
from tsdb.model.places import places_in
from tsdb.model.schema import Catalog
from tsdb.model.store import Effect, KeyDeletion, RangeDeletion, Write
from tsdb.storage.append import NewPoints, Seen


def rows_seen(effects: Iterable[Effect]) -> list[Seen]:
    """What must still hold when the effects are logged.

    A deletion by keys in a keyed series needs nothing: what was written since stays, whatever it is.
    """
    found: list[Seen] = []
    for effect in effects:
        if isinstance(effect, Write):
            if effect.replaces is not None and effect.replaces.sequences is not None:
                found.append(Seen(effect.replaces, exactly=True))
            if effect.updates is not None:
                found.append(Seen(effect.updates, exactly=False))
            if effect.depends is not None:
                found.append(Seen(effect.depends, exactly=True, replaced=False))
        elif isinstance(effect, KeyDeletion) and effect.sequences is not None and not effect.series.keyed:
            found.append(Seen(effect, exactly=True))
    return [seen for seen in found if len(seen.rows.times)]


def new_points(effects: Iterable[Effect]) -> list[NewPoints]:
    """The points that must be free of others when the effects are logged."""
    writes = [effect for effect in effects if isinstance(effect, Write) and len(effect.points)]
    return [NewPoints(write.points, write.free) for write in writes if write.free is not None]


def empty_ranges(effects: Iterable[Effect]) -> list[RangeDeletion]:
    """The ranges in which there must be no point."""
    return [effect for effect in effects if isinstance(effect, RangeDeletion) and effect.if_empty]


def rests_on(
    catalog: Catalog,
    seen: Iterable[Seen],
    news: Iterable[NewPoints],
    empty: Iterable[RangeDeletion],
    only: frozenset[int] | None,
) -> set[int]:
    """The numbers of the locations of rows that were seen, and of those that must not be there: rows of a reference
    table have one time, and so one location. Raises UndefinedTable."""
    places: set[int] = set()
    found = [(each.rows.series, each.rows.times) for each in seen]
    found += [(each.points.series, each.points.times) for each in news]
    for series, times in found:
        database = series_at(catalog, series)
        cuts = places_in(database, series.number).cut(database.locations, times)
        places.update(location.number for location, _ in cuts)
    for each in empty:
        database = series_at(catalog, each.series)
        there = {location.number for location in locations_in_range(database, each.series, each.range)}
        places |= there if only is None else there & only
    return places
