"""A series' new slots are settled: every location's leader has said that there is no point yet for which they hold.

The wish is in the catalog first. A leader that knows it takes no points for those buckets; one that does not know it
yet learns it with the question, which comes as a deletion of nothing: an op that is logged behind all that was logged
before, if there is no point in its range. Whoever leads later was elected later, and knows the wish as well.
"""

from __future__ import annotations

import pyarrow.compute as pc

from tsdb.errors import ObjectNotInPrerequisiteState, StatementCompletionUnknown
from tsdb.model.ring import Slots
from tsdb.model.schema import Series, SetSlots, SettleSlots
from tsdb.model.store import TIME_NS, RangeDeletion, ScanRequest, Store, TimeRange
from tsdb.model.time import BUCKET_NS, NS_MAX, instant_text


def wish_of(series: Series) -> Slots | None:
    """The slots that are not settled yet."""
    last = series.slots[-1] if series.slots else None
    return None if last is None or last.settled else last


def settle(store: Store, wish: SetSlots) -> None:
    """May block. Raises ObjectNotInPrerequisiteState, when the wish is gone: there are such points, or somebody else
    has wished for something else. What else is raised leaves the wish, and it is tried again (``server.upkeep``)."""
    series = store.catalog.find(wish.database).find(wish.series)
    span = TimeRange(wish.from_bucket * BUCKET_NS, NS_MAX)
    try:
        looked = store.commit([RangeDeletion(series, span, if_empty=True)]).result()
    except (ObjectNotInPrerequisiteState, StatementCompletionUnknown) as error:
        # Of several nodes some may have done it, and then it is not told as what it was refused for.
        first = _first(store, series, span)
        if first is None and isinstance(error, StatementCompletionUnknown):
            raise
        store.change(SettleSlots(wish.database, wish.series, wish.from_bucket, dropped=True))
        why = error.message if first is None else f'"{series.name}" has points from {instant_text(first)} on'
        raise ObjectNotInPrerequisiteState(
            f"{why}: slots hold from a time on at which there never were any",
            hint="Try again when their time has passed; of points that were deleted, after VACUUM at all nodes.",
        ) from None
    try:
        store.change(SettleSlots(wish.database, wish.series, wish.from_bucket, counter=looked.counter))
    except ObjectNotInPrerequisiteState:
        found = store.catalog.find(wish.database).find(wish.series)
        # Somebody else may have settled it, with another counter.
        settled = [(each.from_bucket, 1 << each.bits) for each in found.slots if each.settled]
        if (wish.from_bucket, wish.slots) not in settled:
            raise


def _first(store: Store, series: Series, span: TimeRange) -> int | None:
    """The time of the first point in a range."""
    view = store.view()
    try:
        times = [batch.column(0) for batch in view.scan(ScanRequest(series, (TIME_NS,), span)).batches]
        return min((pc.min(each).as_py() for each in times if len(each)), default=None)
    finally:
        view.close()
