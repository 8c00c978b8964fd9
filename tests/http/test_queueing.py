"""Numbered bodies that wait at a node whose database nobody leads: what they are answered, and what becomes of them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_write import Client
from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.errors import CannotConnectNow, InsufficientPrivilege, StatementCompletionUnknown, TsdbError
from tsdb.http.app import create_app
from tsdb.http.options import HttpOptions
from tsdb.http.queueing import Queueing
from tsdb.ingest.faults import Limits
from tsdb.ingest.hints.delivery import MAY_BE_STORED, End, Verdict, deliver, examine
from tsdb.ingest.hints.disk import Folder
from tsdb.ingest.hints.queue import HintQueue
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.write import WriteRequest
from tsdb.model.acks import ALL
from tsdb.model.points import Points
from tsdb.model.privileges import Privilege
from tsdb.model.role_changes import CreateRole, GrantPrivileges
from tsdb.model.roles import FIRST
from tsdb.model.roles import Role as UserRole
from tsdb.model.schema import (
    LINE_PROTOCOL_TIME,
    ColumnDefinition,
    CreateDatabase,
    CreateSeries,
    Database,
    DropColumn,
    DropDatabase,
    DropSeries,
    RenameDatabase,
    RenameSeries,
    Role,
    SetRetention,
)
from tsdb.model.store import Producer, Written
from tsdb.storage.options import Options
from tsdb.types import INT8

NOW = 1_700_000_000_123_456_789
WEEK_NS = 7 * 86_400 * 10**9
BYTES_MAX = 1 << 20


class Leaderless(Node):
    """``why``: nobody leads; with ``stores`` what it fails with was stored all the same."""

    why: TsdbError | None = None
    stores = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.acks: list[int | None] = []

    def check_writable(self, database: Database) -> None:
        if self.why is not None:
            raise type(self.why)(self.why.message)

    def write(
        self, database: Any, points: Sequence[Points], producer: Producer | None = None, acks: int | None = None
    ) -> Future[Written]:
        self.acks.append(acks)
        if self.why is None or self.stores:
            done = super().write(database, points, producer, acks)
        if self.why is None:
            return done
        if self.stores:
            done.result()
        failed: Future[Written] = Future()
        failed.set_exception(type(self.why)(self.why.message))
        return failed


class Queued(Client):
    """A client whose bodies may wait; ``send`` numbers them."""

    def __init__(self, node: Leaderless, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        super().__init__(node, HttpOptions())
        self.leaderless = node
        self.clock = ManualClock(NOW)
        self.queue = HintQueue(Folder(folder / "hints"), bytes_max)
        self.refuses = ""
        self.pool = ThreadPoolExecutor(2)
        hints = self.queue if bytes_max else None
        self.app = create_app(
            node, self.clock, self.pool, HttpOptions(), hints=hints, refuses_hints=lambda: self.refuses
        )

    def send(self, batch: int, body: str | bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        numbers = {"X-Tsdb-Producer": "p", "X-Tsdb-Batch": str(batch), "X-Tsdb-Queue": "true"}
        return self.write(body, headers=numbers | named)

    def lose(self, error: type[TsdbError] = CannotConnectNow) -> None:
        self.leaderless.why = error("location 1 has no node that leads it")

    def deliver(self) -> list[Verdict]:
        """One try of each that waits, until none is given."""
        self.leaderless.why = None
        found = []
        while (hint := self.queue.next(0)) is not None:
            body = self.queue.body(hint)
            verdict = deliver(self.node, hint, body, self.clock.now_ns(), Limits(), WEEK_NS)
            match verdict.end:
                case End.STORED:
                    self.queue.delivered(hint)
                case End.REFUSED:
                    self.queue.refuse(hint, verdict.why, NOW)
                case End.LATER:
                    self.queue.failed(hint, verdict.why, 0)
            found.append(verdict)
        return found


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Queued]:
    node = Leaderless.open(tmp_path / "data", Options(clock=ManualClock(NOW)))
    assert isinstance(node, Leaderless)
    client = Queued(node, tmp_path)
    node.change(
        CreateDatabase("d"),
        CreateSeries("d", "keyless", (LINE_PROTOCOL_TIME, ColumnDefinition("n", Role.FIELD, INT8)), keyed=False),
    )
    yield client
    client.pool.shutdown()
    client.close()


def test_a_batch_without_a_leader_is_202_and_stored_once_afterwards(client: Queued) -> None:
    assert client.send(1, "keyless n=1i 1").status_code == 204
    client.lose()
    answer = client.send(2, "keyless n=2i 2\nkeyless n=3i 3")
    assert (answer.status_code, answer.headers["x-tsdb-queued"]) == (202, "true")
    assert answer.json()["queued"] is True
    assert "not visible yet" in answer.json()["message"]
    # Its client has not heard that.
    assert client.send(2, "keyless n=2i 2\nkeyless n=3i 3").status_code == 202
    assert client.queue.waiting() == 1
    assert [row["n"] for row in client.rows("keyless")] == [1]
    assert client.deliver() == [Verdict(End.STORED)]
    for _ in range(2):
        assert client.send(2, "keyless n=2i 2\nkeyless n=3i 3").status_code == 204
    assert [row["n"] for row in client.rows("keyless")] == [1, 2, 3]
    assert client.queue.listing() == []


@pytest.mark.parametrize("error", [CannotConnectNow, StatementCompletionUnknown])
def test_what_was_stored_by_the_try_that_failed_is_not_stored_again(client: Queued, error: type[TsdbError]) -> None:
    client.lose(error)
    client.leaderless.stores = True
    assert client.send(1, "keyless n=1i 1").status_code == 202
    assert client.deliver() == [Verdict(End.STORED)]
    assert [row["n"] for row in client.rows("keyless")] == [1]


def test_who_does_not_ask_for_it_is_told_to_send_it_again(client: Queued) -> None:
    client.lose()
    for headers in ({}, {"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "1"}):
        answer = client.write("keyless n=1i 1", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (503, "location 1 has no node that leads it")
    assert client.send(1, "keyless n=1i 1", X_Tsdb_Queue="false").status_code == 503
    assert client.queue.waiting() == 0


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({"X-Tsdb-Queue": "true"}, "X-Tsdb-Queue needs X-Tsdb-Producer and X-Tsdb-Batch"),
        ({"X-Tsdb-Queue": "soon"}, "X-Tsdb-Queue 'soon' is not true or false"),
    ],
)
def test_a_wish_that_cannot_be_is_400(client: Queued, headers: dict[str, str], text: str) -> None:
    answer = client.write("m f=1 1", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(text)


def test_other_lines_under_a_number_that_waits_are_409(client: Queued) -> None:
    client.lose()
    assert client.send(1, "m f=1 1").status_code == 202
    answer = client.send(1, "m f=2 1")
    assert answer.status_code == 409
    assert "other content" in answer.json()["error"]
    # Packed, they are the same.
    assert client.send(1, gzip.compress(b"m f=1 1"), Content_Encoding="gzip").status_code == 202
    assert client.queue.waiting() == 1


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("keyless n=1i 1\nm f= 2", "line 2 is not good"),
        ("keyless n=1i", "line 1 is not good"),
        ('keyless n="text" 1', "line 1 is not good: field type conflict"),
        ("new f=1 1\nnew f=t 2", "line 2 is not good: field type conflict"),
        ("short f=1 1", "points beyond retention policy"),
    ],
)
def test_what_is_not_wholly_good_does_not_wait(client: Queued, body: str, why: str) -> None:
    client.write(f"short f=1 {NOW}")
    client.node.change(SetRetention("d", "short", 3600 * 10**9))
    client.lose()
    if body.startswith("short"):
        # Beside one that is not too old, since nothing would have to be written otherwise.
        body += f"\nshort f=1 {NOW}"
    answer = client.send(1, body)
    if answer.status_code == 503:
        assert f"location 1 has no node that leads it; it was not queued: {why}" in answer.json()["error"]
    else:
        assert answer.status_code == 400
    assert client.queue.waiting() == 0


def test_a_full_queue_and_a_node_that_queues_nothing_say_so(client: Queued, tmp_path: Path) -> None:
    small = Queued(client.leaderless, tmp_path / "small", 4096)
    (tmp_path / "small").mkdir()
    off = Queued(client.leaderless, tmp_path / "off", 0)
    client.lose()
    assert small.send(1, "m f=1 1").status_code == 202
    hint = small.queue.next(0)
    assert hint is not None
    small.queue.failed(hint, "nobody leads", 0)
    answer = small.send(2, "m f=2 2")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "4096 of the 4096 bytes of hints_bytes_max are taken" in answer.json()["error"]
    assert "this node queues nothing (hints_bytes_max is 0)" in off.send(1, "m f=1 1").json()["error"]
    client.refuses = "this node is drained"
    assert "it was not queued: this node is drained" in client.send(1, "m f=1 1").json()["error"]
    client.leaderless.why = None
    assert off.send(3, "m f=3 3").status_code == 204
    for each in (small, off):
        each.pool.shutdown()
        each._pool.shutdown()


def test_batches_of_a_producer_are_stored_in_the_order_in_which_they_came(client: Queued) -> None:
    client.lose()
    assert client.send(1, "m f=1 5").status_code == 202
    hint = client.queue.next(0)
    assert hint is not None
    client.queue.failed(hint, "nobody leads", 0)
    # Somebody leads by now. What came first has not been stored yet, so what comes next goes behind it.
    client.leaderless.why = None
    assert client.send(2, "m f=2 5").status_code == 202
    assert client.send(3, "m f=3 6", X_Tsdb_Producer="other").status_code == 204
    assert client.rows("m") == [{"time": 6, "f": 3.0}]
    hint = client.queue.next(10)
    assert hint is not None
    assert deliver(client.node, hint, client.queue.body(hint), NOW, Limits(), WEEK_NS).end is End.STORED
    client.queue.delivered(hint)
    assert client.deliver() == [Verdict(End.STORED)]
    assert client.rows("m") == [{"time": 5, "f": 2.0}, {"time": 6, "f": 3.0}]


def test_who_comes_while_those_before_are_delivered_waits_for_them_and_is_stored(client: Queued) -> None:
    client.lose()
    assert client.send(1, "m f=1 5").status_code == 202
    client.leaderless.why = None

    async def go() -> int:
        transport = httpx.ASGITransport(app=client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            headers = {"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "2", "X-Tsdb-Queue": "true"}
            asked = asyncio.create_task(http.post("/write?db=d", content="m f=2 5", headers=headers))
            await asyncio.sleep(0.1)
            assert not asked.done()
            await asyncio.get_running_loop().run_in_executor(None, client.deliver)
            return (await asked).status_code

    assert asyncio.run(go()) == 204
    assert client.rows("m") == [{"time": 5, "f": 2.0}]
    assert client.queue.waiting() == 0


def _dropped(client: Queued) -> None:
    client.node.change(DropSeries("d", "m"))


def _dropped_and_made(client: Queued) -> None:
    client.node.change(DropSeries("d", "m"))
    client.write("m f=1 1")


def _renamed(client: Queued) -> None:
    client.node.change(RenameSeries("d", "m", "m2"))


def _database_dropped(client: Queued) -> None:
    client.node.change(DropDatabase("d"))
    client.node.change(CreateDatabase("d"))


def _old(client: Queued) -> None:
    client.clock.time_ns += WEEK_NS // 2 + 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_dropped, 'table "m" was dropped or renamed'),
        (_dropped_and_made, 'table "m" was dropped or renamed'),
        (_renamed, 'table "m" was dropped or renamed'),
        (_database_dropped, 'database "d" was dropped'),
        (_old, "it has waited for longer than half of producer_window"),
    ],
)
def test_what_would_mean_something_else_by_now_is_refused_and_kept(
    client: Queued, change: Callable[[Queued], None], why: str
) -> None:
    client.write("m f=1 1")
    client.lose()
    assert client.send(1, "m f=2 2").status_code == 202
    client.leaderless.why = None
    change(client)
    (verdict,) = client.deliver()
    assert verdict.end is End.REFUSED
    assert verdict.why.startswith(why)
    (listed,) = client.queue.listing()
    assert (listed.producer, listed.batch, listed.refused) == ("p", 1, verdict.why)
    if "d" in client.node.catalog.databases and "m" in client.node.catalog.databases["d"].series:
        assert client.rows("m") == [{"time": 1, "f": 1.0}]


def test_a_field_that_has_another_type_by_now_is_refused_and_the_other_lines_are_stored(client: Queued) -> None:
    client.lose()
    assert client.send(1, "new f=1 1\nnew g=1 2").status_code == 202
    client.leaderless.why = None
    client.write('new g="text" 3')
    (verdict,) = client.deliver()
    assert verdict.end is End.REFUSED
    assert "field type conflict" in verdict.why
    assert verdict.why.endswith("; 1 point is stored")
    assert client.rows("new") == [{"time": 1, "f": 1.0}, {"time": 3, "g": "text"}]
    # Mended, its lines are good as a body.
    (listed,) = client.queue.listing()
    kept = (Path(client.queue._disk.path) / listed.file).read_bytes()  # type: ignore[attr-defined]
    assert client.write(kept.replace(b"g=1", b'g="1"')).status_code == 204
    assert client.rows("new")[1] == {"time": 2, "g": "1"}


def test_the_privileges_of_its_sender_hold_when_it_is_queued_and_when_it_is_stored(client: Queued) -> None:
    client.write("m f=1 1")
    client.node.change(CreateRole(UserRole(0, "ann", login=True)))
    (ann,) = (role.number for role in client.node.catalog.roles if role.name == "ann")
    request = WriteRequest("d", producer=Producer("p", 1), queue=True)
    for body in (b"m f=2 2", b"m g=2 2", b"new f=1 1"):
        with pytest.raises(InsufficientPrivilege, match="permission denied"):
            examine(client.node, request, body, NOW, Limits(), ann)
    for role in (ann, 99_999):
        hint = replace(examine(client.node, request, b"m f=2 2", NOW, Limits(), FIRST), role=role)
        verdict = deliver(client.node, hint, b"m f=2 2", NOW, Limits(), WEEK_NS)
        assert verdict.end is End.REFUSED
        assert verdict.why.startswith("permission denied")
    assert client.rows("m") == [{"time": 1, "f": 1.0}]


def test_what_is_refused_though_it_is_stored_says_so_and_under_its_number_it_is_not_stored_again(
    client: Queued,
) -> None:
    client.leaderless.stores = True
    client.lose(StatementCompletionUnknown)
    assert client.send(7, "keyless n=2i 2").status_code == 202
    client.node.change(RenameSeries("d", "keyless", "kept"))
    (verdict,) = client.deliver()
    assert verdict.end is End.REFUSED
    assert verdict.why.endswith(f'table "keyless" was dropped or renamed{MAY_BE_STORED}')
    answer = client.send(7, "kept n=2i 2")
    assert (answer.status_code, "was applied before" in answer.json()["error"]) == (409, True)
    # One that was not stored is, by the same.
    client.leaderless.stores = False
    client.lose(StatementCompletionUnknown)
    assert client.send(8, "kept n=3i 3").status_code == 202
    client.node.change(RenameSeries("d", "kept", "keyless"))
    (verdict,) = client.deliver()
    assert verdict.why.endswith(MAY_BE_STORED)
    for _ in range(2):
        assert client.send(8, "keyless n=3i 3").status_code == 204
    assert [row["n"] for row in client.rows("keyless")] == [2, 3]


def test_lines_that_are_wrong_by_now_are_refused_with_what_is_known_of_the_try_before(client: Queued) -> None:
    client.write("m f=0,g=0 0")
    client.leaderless.stores = True
    client.lose(StatementCompletionUnknown)
    assert client.send(1, "m f=1 1\nm g=1 2").status_code == 202
    assert client.send(2, "m g=1 3", X_Tsdb_Producer="q").status_code == 202
    client.leaderless.why = None
    client.node.change(DropColumn("d", "m", "g"))
    client.write('m g="text" 4')
    first, second = client.deliver()
    assert first.end is second.end is End.REFUSED
    assert first.why.endswith("a try before has stored it, as it was understood then")
    assert second.why.endswith(f"nothing was stored by this try{MAY_BE_STORED}")


@pytest.mark.parametrize("body", ["m f=2 2", "m f=3 2"])
def test_who_has_no_right_to_the_database_is_not_told_what_waits(client: Queued, body: str) -> None:
    client.lose()
    assert client.send(1, "m f=2 2").status_code == 202
    client.node.change(
        CreateRole(UserRole(0, "ann", login=True)), GrantPrivileges("d", None, Privilege.CONNECT, None, revoke=True)
    )
    (ann,) = (role.number for role in client.node.catalog.roles if role.name == "ann")
    queueing = Queueing(client.node, client.clock, Limits(), client.queue, lambda: "")
    stored: list[bool] = []

    async def store() -> Outcome:
        stored.append(True)
        return Outcome(1)

    request = WriteRequest("d", producer=Producer("p", 1), queue=True)
    with pytest.raises(InsufficientPrivilege, match="permission denied for database d"):
        asyncio.run(queueing.write(request, body.encode(), ann, store))
    assert stored == []


def test_a_renamed_database_is_the_same(client: Queued) -> None:
    client.write("m f=1 1")
    client.lose()
    assert client.send(1, "m f=2 2").status_code == 202
    client.node.change(RenameDatabase("d", "e"))
    assert client.deliver() == [Verdict(End.STORED)]
    assert [row["f"] for row in client.rows("m", "e")] == [1.0, 2.0]


@pytest.mark.parametrize(("said", "acks"), [({}, None), ({"X_Tsdb_Acks": "1"}, 1), ({"X_Tsdb_Acks": "all"}, ALL)])
def test_as_many_replicas_are_waited_for_as_the_write_said_or_else_its_tables(
    client: Queued, said: dict[str, str], acks: int | None
) -> None:
    client.lose()
    assert client.send(1, "keyless n=1i 1", **said).status_code == 202
    assert client.deliver() == [Verdict(End.STORED)]
    assert client.leaderless.acks == [acks, acks]


def test_what_passes_is_tried_again(client: Queued) -> None:
    client.lose()
    assert client.send(1, "m f=2 2").status_code == 202
    hint = client.queue.next(0)
    assert hint is not None
    verdict = deliver(client.node, hint, client.queue.body(hint), NOW, Limits(), WEEK_NS)
    assert verdict == Verdict(End.LATER, "location 1 has no node that leads it")
    client.queue.failed(hint, verdict.why, -10)
    assert client.deliver() == [Verdict(End.STORED)]
