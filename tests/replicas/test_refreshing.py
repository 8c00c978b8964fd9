"""What a refresh of a replicated database rests on, and when a node shows how far it has come, without a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tsdb.cluster.metadata.records import ContinuousRecord, LocationRecord
from tsdb.cluster.metadata.state import Change, State
from tsdb.cluster.refreshing import Wishes
from tsdb.cluster.replicas import refreshing
from tsdb.cluster.replicas.mine import Mine
from tsdb.errors import CannotConnectNow, DivisionByZero, LocationElsewhere
from tsdb.model.continuous import Progress
from tsdb.model.refreshing import Holding
from tsdb.model.schema import Series
from tsdb.session import continuous
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.context import Context

VIEW = 7


@dataclass
class Data:
    """An engine, as far as it is needed."""

    last_counter: int = 0
    node: int = 1
    shown: dict[int, Progress] = field(default_factory=dict)

    def raise_counter(self, counter: int) -> None:
        self.last_counter = max(self.last_counter, counter)

    def progress_shown(self, series: int) -> Progress | None:
        return self.shown.get(series)

    def show_progress(self, series: int, progress: Progress) -> None:
        self.shown[series] = progress


def replica(applied: int, *, leads: bool = True, last: int = 0) -> Any:
    """The replica of a location, as its host has it."""
    lead = (3, 1) if leads else None
    core = SimpleNamespace(lead=lead, log_end=(3, last or applied, applied, applied))
    return SimpleNamespace(replica=core)


class Node:
    def __init__(self, **replicas: Any) -> None:
        self.data = Data()
        self.replicas = {int(name[1:]): each for name, each in replicas.items()}
        self.shown = refreshing.Shown(self.data, self.find)

    def find(self, location: int) -> Mine | None:
        return self.replicas.get(location)

    def told(self, record: ContinuousRecord | None) -> None:
        self.shown.told(State(), [Change("continuous", VIEW, record)])


RECORD = ContinuousRecord(VIEW, 1, 20, 30, 1000, ((1, 5), (2, 9)))


def test_progress_is_shown_when_all_replicas_have_what_belongs_to_it_and_the_one_before_until_then() -> None:
    node = Node(l1=replica(5), l2=replica(8))
    node.told(RECORD)
    assert node.data.shown == {VIEW: Progress(0, 1000, 0, 1000)}
    node.replicas[2] = replica(9)
    node.shown.look()
    assert node.data.shown == {VIEW: Progress(20, 1000, 30, 1000)}
    node.told(replace(RECORD, counter=40, stored=50, watermark_ns=2000, applied=((1, 6), (2, 9))))
    assert node.data.shown == {VIEW: Progress(20, 1000, 30, 2000)}
    node.replicas[1] = replica(7)
    node.shown.look()
    assert node.data.shown == {VIEW: Progress(40, 2000, 50, 2000)}


def test_counters_of_who_knows_of_progress_are_above_it_also_before_it_is_shown() -> None:
    node = Node(l1=replica(0))
    node.told(RECORD)
    assert node.data.last_counter == 30


def test_what_nobody_waits_for_is_not_shown() -> None:
    node = Node(l1=replica(5), l2=replica(8))
    node.told(RECORD)
    node.told(None)
    node.replicas[2] = replica(9)
    node.shown.look()
    assert node.data.shown[VIEW].counter == 0


def test_a_view_is_held_where_all_that_was_in_the_logs_is_applied() -> None:
    node = Node(l1=replica(5), l2=replica(8, last=10))
    node.data.last_counter = 90
    held = refreshing.holding(node.data, node.find, {1: 5, 2: 8}, [2, 1])
    assert held == Holding(90, ((1, 3), (2, 3)), ((1, 5), (2, 8)))
    assert refreshing.ends(node.find, [1, 2]) == {1: 5, 2: 10}
    assert refreshing.holding(node.data, node.find, {1: 5, 2: 10}, [1, 2]) is None
    assert refreshing.holding(node.data, node.find, {}, [1, 2, 3]) is None
    node.replicas[1] = replica(5, leads=False)
    assert refreshing.holding(node.data, node.find, {}, [1, 2]) is None


@pytest.mark.parametrize(
    ("voters", "learners", "shows"), [((7, 8), (), True), ((7, 8), (1,), False), ((1, 7), (), False)]
)
def test_progress_is_shown_without_what_others_alone_have_and_not_before_a_copy_has_come(
    voters: tuple[int, ...], learners: tuple[int, ...], shows: bool
) -> None:
    node = Node(l1=replica(5))
    second = LocationRecord(2, 1, 3, 7, voters, learners)
    state = cast(State, SimpleNamespace(get=lambda kind, number: second))
    node.shown.told(state, [Change("continuous", VIEW, RECORD)])
    assert node.data.shown[VIEW].counter == (RECORD.counter if shows else 0)


def test_a_wish_is_fulfilled_by_a_refresh_that_begins_after_it() -> None:
    wishes = Wishes()
    assert wishes.want(VIEW, 0) == (1, False)
    begun = wishes.open()
    assert begun == {VIEW: 1}
    assert wishes.want(VIEW, 0) == (2, False)
    wishes.fulfilled(VIEW, begun[VIEW], None)
    assert (wishes.want(VIEW, 1), wishes.want(VIEW, 2)) == ((1, True), (2, False))
    assert wishes.open() == {VIEW: 2}
    wishes.fulfilled(VIEW, 2, DivisionByZero("no"))
    with pytest.raises(DivisionByZero):
        wishes.want(VIEW, 2)
    assert not wishes.open()
    # Who gave that one is not there any more, and nobody would fulfil it.
    with pytest.raises(CannotConnectNow, match="started again"):
        wishes.want(VIEW, 3)


def test_a_refresh_that_is_for_another_node_is_no_failure_here() -> None:
    asked: list[Series] = []

    def elsewhere(_: Series) -> None:
        raise LocationElsewhere("node 2 has it", hint="")

    store = SimpleNamespace(refreshing=elsewhere, refresh_elsewhere=lambda series, check: asked.append(series))
    refreshes, view = Refreshes(), cast(Series, SimpleNamespace(identity=VIEW))
    context = Context("d", now_us=0)
    assert Refresher(cast(Any, store), cast(Any, None), refreshes, context).refresh_anywhere(view) == 0
    assert asked == [view]
    assert refreshes.totals()[:2] == (0, 0)
    assert not refreshes.of(view).error


@pytest.mark.parametrize(("refused", "waits"), [(2, 10.0), (99, 0.1)], ids=["for a moment", "for long"])
def test_a_refresh_is_tried_again_while_it_changes_who_looks_after_it(
    monkeypatch: pytest.MonkeyPatch, refused: int, waits: float
) -> None:
    monkeypatch.setattr(continuous, "WAIT_S", waits)
    monkeypatch.setattr(continuous, "LONGEST_S", 0.01)
    tries = 0

    def here(_: Series) -> None:
        raise LocationElsewhere("node 2 has it", hint="")

    def there(_: Series, check: object) -> None:
        nonlocal tries
        tries += 1
        if tries <= refused:
            raise CannotConnectNow("it is being replicated")

    store = SimpleNamespace(refreshing=here, refresh_elsewhere=there)
    view, context = cast(Series, SimpleNamespace(identity=VIEW)), Context("d", now_us=0)
    refresher = Refresher(cast(Any, store), cast(Any, None), Refreshes(), context)
    if refused == 2:
        assert refresher.refresh_anywhere(view) == 0
        assert tries == 3
    else:
        with pytest.raises(CannotConnectNow):
            refresher.refresh_anywhere(view)
        assert 1 < tries < 99
