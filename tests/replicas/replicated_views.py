"""Random histories of a replicated table with continuous views, on three nodes in one process: each step is done by any
of them, who leads changes at any time, and what is read in one view is the plain query in that view, at every level."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from random import Random

from tests.cluster.random_node import COLUMNS, MINUTE
from tests.cluster.setting import START
from tests.continuous.history import QUERIES, History
from tests.fixtures.waiting import until
from tests.group.together import Together
from tsdb.cluster.group.control import Done, Spread
from tsdb.cluster.metadata.commands import Assign, SetGoals, SetReplication
from tsdb.cluster.metadata.records import Goal, LocationRecord, Ring, goal_number
from tsdb.cluster.node import Node
from tsdb.cluster.replicas.moving import next_epoch
from tsdb.errors import CannotConnectNow, QueryCanceled, TsdbError
from tsdb.model.freshness import LINEARIZABLE, Freshness, Level, Seen
from tsdb.model.points import encode_tagset
from tsdb.model.schema import CreateDatabase, CreateSeries, Series, SetRetention
from tsdb.model.store import RangeDeletion, View
from tsdb.session.continuous import Refresher, Refreshes
from tsdb.sql.continuous.reading import cut
from tsdb.sql.query import Queries

_numbers = itertools.count()
ARCS = 4
LEVELS = [Freshness(level, 10**9, anywhere=True) for level in Level]


class ReplicatedHistory(History):
    """``together`` runs; the history makes a database of its own. ``views``: the names of those of ``QUERIES``."""

    kills = 0.0

    def __init__(self, together: Together, queries: Queries, seed: int, *views: str) -> None:
        self.together = together
        self.random = Random(seed)
        self.name = f"seed{seed}_{next(_numbers)}"
        self.odd, self.full = 0.05, False
        self.clock = self.latest = START
        self.queries = queries
        self.refreshes = Refreshes()
        self.seen = Seen()
        self.kept = {name: [] for name in views}
        self.views = {name: QUERIES[name] for name in views}
        self.floor = -(2**63)
        self.node = together.nodes[1]
        self.node.change(CreateDatabase(self.name))
        self.node.change(CreateSeries(self.name, "cpu", COLUMNS, seed % 2 == 0))
        for name, text in self.views.items():
            self.create(name, text)

    # Who leads

    def records(self) -> list[LocationRecord]:
        number = self.database.number
        return [each for each in self.node.metadata.all(LocationRecord) if each.database == number]

    def leader(self) -> Node:
        """Who leads all of it, in epochs that are active."""

        def look() -> Node | None:
            self.node.catch_up()
            records = self.records()
            leaders = {each.leader for each in records if each.active_epoch == each.epoch}
            if len(leaders) != 1 or any(each.active_epoch != each.epoch for each in records):
                return None
            found = self.together.nodes[leaders.pop()]
            return found if found.leads(self.database) else None

        found = until(look)
        assert found is not None
        return found

    def elect(self, heir: int = 0) -> None:
        """Another one leads all of it; or, chosen at random, perhaps some. Who leads now is not asked."""
        chosen = heir or self.random.choice(self.records()[0].voters)
        wanted = [each for each in self.records() if each.leader != chosen]
        if not heir and self.random.random() < 0.3:
            wanted = wanted[::2]
        if wanted:
            self.node.agreement.propose(Assign(tuple(next_epoch(each, chosen) for each in wanted)))

    def unite(self) -> None:
        """One leads all of it."""
        heir = self.records()[0].leader
        wanted = [each for each in self.records() if each.leader != heir]
        if wanted:
            self.node.agreement.propose(Assign(tuple(next_epoch(each, heir) for each in wanted)))

    # Steps

    def refresh(self) -> None:
        self._refresher(self.leader()).refresh(self._any(), lag=self.random.random() < 0.5)

    def interrupt(self) -> None:
        """A refresh that is given up somewhere, or during which others lead."""
        left = self.random.randrange(1, 6)
        elects = self.random.random() < 0.6

        def check() -> None:
            nonlocal left
            left -= 1
            if not left and elects:
                self.elect()
            elif not left:
                raise QueryCanceled("enough")

        self._refresher(self.leader(), check).refresh(self._any())

    def _any(self) -> Series:
        return self.view(self.random.choice(list(self.views)))

    def _refresher(self, node: Node, check: Callable[[], None] = lambda: None) -> Refresher:
        return Refresher(node, self.queries, self.refreshes, self.context(), check)

    def compact(self) -> None:
        node = self.random.choice([*self.together.nodes.values()])
        node.flush()
        node.compact([self.series, *map(self.view, self.views)], full=self.random.random() < 0.7)

    def truncate(self) -> None:
        self.node.delete(self.database, RangeDeletion(self.series)).result(60)

    def raise_floor(self) -> None:
        self.unite()
        self.node = self.leader()
        floor = max(self.floor, START - 40 * MINUTE) + self.random.randrange(1, 60) * MINUTE
        if floor >= self.clock:
            return
        before = {name: self.rows(f"SELECT * FROM {name}") for name in self.views}
        with contextlib.suppress(TsdbError):
            self._refresher(self.node).raise_floor(SetRetention(self.name, "cpu", None, floor))
        self.node.catch_up()
        if self.series.floor_ns is not None and self.series.floor_ns > self.floor:
            self.floor = self.series.floor_ns
            for name, rows in before.items():
                self.kept[name] = [row for row in rows if self._bucket(name, row) < self.floor]

    def step(self) -> None:
        self.node = self.random.choice([*self.together.nodes.values()])
        self.node.catch_up()
        steps = {
            self.write: 6, self.write_below: 4, self.delete: 1.5, self.delete_keys: 1, self.refresh: 6,
            self.interrupt: 3, self.flush: 2, self.compact: 1.5, self.elect: 1, self.unite: 1,
            self.truncate: 0.1, self.set_lag: 0.3, self.raise_floor: 0.5, self.kill: self.kills,
        }  # fmt: skip
        # What fails is done or not: nothing is compared with what was meant.
        with contextlib.suppress(TsdbError):
            self.random.choices(list(steps), list(steps.values()))[0]()

    def kill(self) -> None:
        """A node ends in the middle of whatever it leads, and is back at once, or when others have gone on."""
        place = self.random.choice([*self.together.nodes])
        self.together.nodes.pop(place).close(0.0)
        self.node = next(iter(self.together.nodes.values()))
        if self.random.random() < 0.5:
            until(lambda: all(each.leader != place and each.active_epoch == each.epoch for each in self.records()))
            self.write()
            self.refresh()
        self.together.start(place)

    def flush(self) -> None:
        self.random.choice([*self.together.nodes.values()]).flush()

    # What must hold

    def check(self) -> None:
        """At every node, at some level."""
        for node in self.together.nodes.values():
            self.check_at(node, self.random.choice([*LEVELS, LINEARIZABLE]))

    def check_at(self, node: Node, *levels: Freshness) -> None:
        self.node = node
        node.catch_up()
        for fresh in levels:
            for name in self.views:
                until(lambda: self._same(name, replace(fresh, seen=self.seen)))  # noqa: B023

    def _same(self, name: str, fresh: Freshness) -> bool:
        """False: it could not be read just now."""
        view = self.node.view(fresh)
        try:
            plain, rows = self.rows_in(view, self.views[name]), self.rows_in(view, f"SELECT * FROM {name}")
        except CannotConnectNow:
            # Where two lead nothing is read that has to be new.
            with contextlib.suppress(TsdbError):
                self.unite()
            return False
        finally:
            view.close()
        floor = self._floor_in(view)
        expected = [row for row in plain if self._bucket(name, row) >= floor]
        if fresh.level is Level.LINEARIZABLE:
            assert rows == sorted(expected + self.kept[name], key=repr), name
        else:
            assert [row for row in rows if self._bucket(name, row) >= floor] == expected, (name, fresh.level)
        return True

    @staticmethod
    def tags_of(series: Series, host: str) -> bytes:
        return encode_tagset([(series.column("host").number, host)])

    def dirty(self, node: Node, name: str) -> bool:
        """Whether anything of a view has to be computed at a node, as it is."""
        view = node.engine.view()
        try:
            found = cut(view, node.catalog.find(self.name).find(name), node.catalog.find(self.name).find("cpu"))
            return bool(found.dirty) or found.watermark <= found.low
        finally:
            view.close()

    def everywhere(self, node: Node) -> None:
        """A node comes to have what the leader has."""
        leader = self.leader()
        until(lambda: self._applied(node) >= self._applied(leader))

    def _applied(self, node: Node) -> list[int]:
        shared = node.agreement.shared
        assert shared is not None
        locations = [each.location for each in self.records()]
        opened = shared.open(locations, Freshness(Level.ANY), locations)
        opened.view.close()
        return [opened.applied[at][1] for at in sorted(opened.applied)]

    def _floor_in(self, view: View) -> int:
        floor = view.catalog.find(self.name).find("cpu").floor_ns
        return -(2**63) if floor is None else floor


class GrownHistory(ReplicatedHistory):
    """One node has the database for itself; it begins to be shared where otherwise another one would lead, as in the
    middle of a refresh."""

    def __init__(self, together: Together, queries: Queries, seed: int, *views: str) -> None:
        before = together.nodes[1].metadata.group.replication_factor
        together.nodes[1].agreement.propose(SetReplication(0, 1))
        super().__init__(together, queries, seed, *views)
        together.nodes[1].agreement.propose(SetReplication(0, before))

    @property
    def is_shared(self) -> bool:
        ring = self.node.metadata.get(Ring, self.database.number)
        return ring is not None and ring.is_shared

    def elect(self, heir: int = 0) -> None:
        if self.is_shared:
            super().elect(heir)
        else:
            self.node.agreement.propose(SetReplication(self.database.number, self.random.choice([1, 3])))
            if self.random.random() < 0.7:
                until(lambda: self.is_shared)

    def unite(self) -> None:
        if self.is_shared:
            super().unite()


class SpreadHistory(ReplicatedHistory):
    """Four nodes, and the database in as many arcs: each node has three of them. Who leads an arc changes by itself."""

    def __init__(self, together: Together, queries: Queries, seed: int, *views: str) -> None:
        super().__init__(together, queries, seed, *views)
        number = self.database.number
        assert isinstance(together.ask(1, Spread(self.name, ARCS)), Done)
        goals = {goal_number(number, arc): tuple((arc + each) % 4 + 1 for each in range(3)) for arc in range(ARCS)}
        self.node.agreement.propose(SetGoals(tuple(goals.items())))
        own = {goal_number(number, arc) for arc in range(ARCS)}
        until(lambda: own.isdisjoint(goal.number for goal in self.node.metadata.all(Goal)))

    def arcs(self) -> list[list[LocationRecord]]:
        ring = self.node.metadata.get(Ring, self.database.number)
        assert ring is not None
        found: dict[int, list[LocationRecord]] = {}
        records = {each.location: each for each in self.records()}
        for each in ring.maps[-1].intervals:
            found.setdefault(ring.arc_of(each), []).append(records[each.location])
        return list(found.values())

    def leader(self) -> Node:
        """Who refreshes."""

        def look() -> Node | None:
            self.node.catch_up()
            if any(each.active_epoch != each.epoch for each in self.records()):
                return None
            at = {each.location: each.leader for each in self.records()}[self.database.locations[0].number]
            found = self.together.nodes.get(at)
            return found if found is not None and found.leads(self.database) else None

        found = until(look)
        assert found is not None
        return found

    def elect(self, heir: int = 0) -> None:
        chosen = [self.random.choice(self.arcs())] if self.random.random() < 0.7 else self.arcs()
        for arc in chosen:
            heir = self.random.choice(arc[0].voters)
            wanted = [each for each in arc if each.leader != heir]
            if wanted:
                self.node.agreement.propose(Assign(tuple(next_epoch(each, heir) for each in wanted)))

    def unite(self) -> None:
        """Each arc is led by one node."""
        for arc in self.arcs():
            wanted = [each for each in arc if each.leader != arc[0].leader]
            if wanted:
                self.node.agreement.propose(Assign(tuple(next_epoch(each, arc[0].leader) for each in wanted)))
