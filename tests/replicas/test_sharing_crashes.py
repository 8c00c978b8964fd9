"""A node dies while a database of its own becomes one that others can have: at each step it has the old state or the
new one.

Each step leaves a copy of the directory, as kill -9 would; a node is started from each, has all that was acknowledged
by then, and comes to the end of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.replicas.test_sharing_together import OneThenThree
from tsdb.cluster.metadata.commands import SetReplication
from tsdb.cluster.metadata.records import Ring
from tsdb.cluster.replicas.host import Host
from tsdb.cluster.replicas.sharing import Sharing
from tsdb.storage.shard import Shard


class Images:
    """Copies of a node's directory, by the step at which they were taken: once each, in the committer's thread."""

    def __init__(self, cluster: OneThenThree, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.taken: dict[str, Path] = {}

    def take(self, step: str) -> None:
        if step not in self.taken:
            self.taken[step] = self.folder / step
            shutil.copytree(self.cluster.together.data(1), self.folder / step, ignore=shutil.ignore_patterns("LOCK"))

    def around(self, patch: pytest.MonkeyPatch, kind: type[Any], name: str, step: str, of: Callable[..., bool]) -> None:
        """Before and after a method that ``of`` says yes to."""
        method = getattr(kind, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if not of(*arguments):
                return method(*arguments, **named)
            self.take(f"before_{step}")
            found = method(*arguments, **named)
            self.take(f"after_{step}")
            return found

        patch.setattr(kind, name, wrapped)


def database_number(cluster: OneThenThree) -> int:
    return cluster.nodes[1].catalog.databases["d"].number


def is_shared(cluster: OneThenThree) -> bool:
    ring = cluster.nodes[1].metadata.get(Ring, database_number(cluster))
    return ring is not None and ring.is_shared


def test_a_crash_at_any_step_leaves_what_was_or_what_is_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node").mkdir()
    cluster = OneThenThree(tmp_path / "node")
    images = Images(cluster, tmp_path)
    try:
        cluster.fill()
        before = cluster.answers(1)
        engine = cluster.nodes[1].engine
        engine.call(lambda: images.take("as_it_was"))
        number = database_number(cluster)
        share = Sharing._share

        async def shared(sharing: Sharing, database: Any) -> None:
            images.take("asked_for")
            await share(sharing, database)

        with monkeypatch.context() as patch:
            patch.setattr(Sharing, "_share", shared)
            # The metadata say so, and nothing of the replicas is on disk yet; then it is, and not synced.
            images.around(patch, Shard, "end_progress", "progress", lambda shard, series: True)
            images.around(
                patch, Host, "learn", "beginning", lambda host, locations, arcs: locations and not host.locations
            )
            # The barriers of the first epoch.
            images.around(
                patch, Host, "_write", "barriers", lambda host, batches: any(ready.ops for _, ready in batches)
            )
            cluster.nodes[1].agreement.propose(SetReplication(number, 1))
            until(lambda: cluster.holders() == {1})
            assert cluster.answers(1) == before
            # Then the node's own logs go, with the flush of their last points.
            images.around(patch, Shard, "write_durably", "flush", lambda shard, batch: shard.version.frozen)
            engine.flush()
        engine.call(lambda: images.take("at_the_end"))
        assert not any(log.ended for log in engine._shard.log.logs())
        assert cluster.answers(1) == before
    finally:
        cluster.ports.shut()
        cluster.together.end()
    assert len(images.taken) == 11
    try:
        for step, image in images.taken.items():
            shutil.rmtree(cluster.together.data(1))
            shutil.copytree(image, cluster.together.data(1))
            check(cluster, step, before)
    finally:
        cluster.close()


def check(cluster: OneThenThree, step: str, before: list[list[tuple[object, ...]]]) -> None:
    cluster.together.start(1)
    assert cluster.answers(1) == before, step
    cluster.nodes[1].agreement.propose(SetReplication(database_number(cluster), 1))
    until(lambda: is_shared(cluster) and cluster.holders() == {1})
    assert cluster.answers(1) == before, step
    with cluster.connect(1) as connection:
        ((ticket,),) = connection.execute("SELECT nextval('tickets')").fetchall()
        # What was reserved when it died is a gap.
        assert ticket >= 35, step
        connection.execute("INSERT INTO people (name, mail) VALUES ('dot', 'dot@x')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO people (name, mail) VALUES ('eve', 'ann@x')")
        connection.execute("DELETE FROM people WHERE name = 'dot'")
    # It is there already.
    cluster.pay(1, 1)
    cluster.pay(1, 2)
    cluster.pay(1, 3)
    cluster.refresh(1)
    after = cluster.answers(1)
    assert (after[:2], after[3:]) == (before[:2], before[3:]), step
    assert len(after[2]) == 12, step
    # And what it has then is there after a start.
    cluster.ports.shut()
    cluster.together.stop(1)
    cluster.together.start(1)
    assert cluster.answers(1) == after, step
    cluster.ports.shut()
    cluster.together.stop(1)
