"""How far the continuous views of replicated databases are stored (``records.ContinuousRecord``).

Who refreshes a view has made all who lead locations of its database give counters above those that it saw, and says in
which epochs. In these it is refused once any of them is over. So whoever leads a later epoch has applied the command
before that, and gives only higher counters: a counter is enough to tell what came after the refresh.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from tsdb.cluster.metadata.commands import Advance
from tsdb.cluster.metadata.records import ContinuousRecord, LocationRecord, Ring
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import SerializationFailure, UndefinedTable


def advance(draft: Draft, action: Advance) -> tuple[int, ...]:
    """Gives the command's index, by which the record is known to be unchanged."""
    found = draft.catalog.series_by_number.get(action.series)
    if found is None or found[0].number != action.database or found[1].continuous is None:
        raise UndefinedTable(f"database {action.database} has no continuous view {action.series}")
    epochs, ring = dict(action.epochs), draft.get(Ring, action.database)
    # Versions before this one know of views of databases in one arc alone, which one node leads.
    leader = action.leader if ring is None or ring.arcs == 1 else 0
    for location in found[0].locations:
        record = draft.get(LocationRecord, location.number)
        is_same = record is not None and record.epoch == epochs.get(location.number)
        if record is None or not is_same or leader not in (0, record.leader):
            raise SerializationFailure(
                f"location {location.number} is led by another node, or in another epoch, than when its points were "
                "looked at",
                hint="Look again, and decide again.",
            )
    draft.put(
        ContinuousRecord(
            action.series, action.database, action.counter, action.stored, action.watermark_ns, action.applied
        )
    )
    return (draft.index,)


def forget(draft: Draft) -> None:
    """Of views that are dropped: their numbers are not given again."""
    for record in list(draft.all(ContinuousRecord)):
        if record.series not in draft.catalog.series_by_number:
            draft.remove(ContinuousRecord, record.series)


def give_up(draft: Draft, databases: Collection[int]) -> None:
    """Points of these may be lost, of sources and of what is stored of them: all that has a row is dirty."""
    for record in list(draft.all(ContinuousRecord)):
        if record.database in databases:
            draft.put(replace(record, counter=0, stored=0, applied=()))
