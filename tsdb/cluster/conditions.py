"""What must still hold of what a COMMIT's effects rest on when they are logged."""

from __future__ import annotations

from collections.abc import Iterable

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
