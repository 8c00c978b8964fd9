"""A client: numbered batches for the whole ring, cut by the map it knows, sent until each part is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim_replication.metadata import RING, node_of
from tests.sim_replication.node import encode
from tests.sim_replication.odds import TICK
from tsdb.cluster.replication.clients import (
    ALL,
    QUORUM,
    Answer,
    Behind,
    NotLeader,
    SessionExpired,
    Write,
    Written,
)  # fmt: skip
from tsdb.cluster.replication.record import Record

if TYPE_CHECKING:
    from tests.sim_replication.node import Hosted, Node, Row
    from tests.sim_replication.world import World


@dataclass
class Request:
    """A part of a batch on its way to somebody."""

    client: Client | None
    location: int
    write: Write
    rows: list[Row]


class Client:
    """One session at a time, one batch at a time; ``parts`` are the intervals that wait for an answer."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.served = 0
        self.hint = 0
        self._open()

    def _open(self) -> None:
        self.session = self.world.metadata.open_session()
        self.batch = self.done = 0
        self.refresh()

    def refresh(self) -> None:
        self.map = sorted(self.world.metadata.living(), key=lambda record: record.low)

    def begin(self) -> None:
        """The next batch."""
        chance = self.world.chance
        self.batch += 1
        self.acks = QUORUM
        if not self.world.healed and chance.random() < self.world.odds.weak_acks:
            self.acks = chance.choice((0, 1, 1, 2, ALL))
        places = chance.sample(range(RING), chance.choice((1, 2, 4)))
        self.rows = [(self.session, self.batch, place) for place in sorted(places)]
        self.parts: list[tuple[int, int]] = [(0, RING)]
        self._send_all(self.batch, self.session)

    def _send_all(self, batch: int, session: int) -> None:
        """What is not answered yet, by the map as it is known now; again after a while."""
        if (batch, session) != (self.batch, self.session):
            return
        if self.world.chance.random() < 0.3 or self.world.healed:
            self.refresh()
        for low, high in self.parts:
            for record in self.map:
                start, end = max(low, record.low), min(high, record.high)
                if start < end:
                    self._send(record, start, end)
        self.world.later(self.world.chance.choice((2, 5, 15)) * TICK, lambda: self._send_all(batch, session))

    def _send(self, record: Record, low: int, high: int) -> None:
        chance = self.world.chance
        rows = [row for row in self.rows if low <= row[2] < high]
        acknowledged = min(max(self.done - chance.choice((0, 0, 1, 2)), 0), self.batch - 1)
        limit = self.world.odds.settings.batches_max
        write = Write(
            self.world.number(), low, high, record.map_version, encode(rows), len(rows), self.session, self.batch,
            max(acknowledged, self.batch - limit), acks=self.acks, ticks=chance.choice((5, 20, 60)),
        )  # fmt: skip
        request = Request(self, record.location, write, rows)
        self.world.requests[write.id] = request
        to = self.hint if self.hint and chance.random() < 0.7 else 0
        target = next((r for r in record.voters if r == to), 0) or record.leader
        if chance.random() < 0.1:
            target = chance.choice(record.voters)
        self.world.travel(lambda: self.world.nodes[node_of(target)], lambda node: self._arrive(node, request))

    def _arrive(self, node: Node, request: Request) -> None:
        hosted = node.hosted.get(request.location)
        if not node.up or hosted is None:
            return
        ended = self.world.metadata.sessions[request.write.client]
        is_open = not 0 < ended <= node.known_index
        write = _with(request.write, open_at=node.known_index, is_open=is_open)
        node.feed(lambda: hosted.replica.write(write), hosted)

    def answered(self, node: Node, hosted: Hosted, request: Request, answer: Answer) -> None:
        """At the node that answers; the answer is still on its way."""
        if isinstance(answer, Written):
            self.world.checks.acknowledged(hosted, answer, request.rows, request.write.acks)
            if answer.acks == 1 and answer.sequence:
                self.world.weak.append((hosted.location, answer.epoch, answer.sequence, request.rows))
        elif isinstance(answer, Behind):
            node.known_index = max(node.known_index, answer.metadata_index)
        self.world.travel(lambda: node, lambda _: self._hear(request, answer))

    def _hear(self, request: Request, answer: Answer) -> None:
        write = request.write
        if isinstance(answer, NotLeader):
            self.hint = answer.leader
        if (write.client, write.batch) != (self.session, self.batch):
            return
        if isinstance(answer, SessionExpired):
            self._open()
            self.begin()
        elif isinstance(answer, Written) and (answer.acks == write.acks or answer.acks == QUORUM):
            if answer.sequence and self.world.chance.random() < 0.3:
                self.world.read_after(request.location, answer.epoch, answer.sequence)
            self.parts = [left for part in self.parts for left in _minus(part, (write.low, write.high))]
            if not self.parts:
                self.done, self.served = self.batch, self.served + 1
                self.begin()


def _minus(part: tuple[int, int], gone: tuple[int, int]) -> list[tuple[int, int]]:
    left = (part[0], min(part[1], gone[0])), (max(part[0], gone[1]), part[1])
    return [(low, high) for low, high in left if low < high]


def _with(write: Write, open_at: int, is_open: bool) -> Write:
    fields = {name: getattr(write, name) for name in write.__struct_fields__}
    return Write(**{**fields, "open_at": open_at, "is_open": is_open})
