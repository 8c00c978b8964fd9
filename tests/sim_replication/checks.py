"""What must hold in every step of a simulated run, seen with an eye that sees all nodes and disks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim_replication.metadata import node_of
from tsdb.cluster.replication.clients import ALL, QUORUM, Written
from tsdb.cluster.replication.messages import Ack, Message, Promise, Repl, Snapshot
from tsdb.cluster.replication.ops import SEALS, WRITES, Op
from tsdb.cluster.replication.state import Role

if TYPE_CHECKING:
    from tests.sim_replication.node import Hosted, Row
    from tests.sim_replication.world import World


class Broken(Exception):
    """Something that must never happen did."""


class Checks:
    """Called by the world; raises Broken. Named by the invariants of the design's 2.12."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.leaders: dict[tuple[int, int], int] = {}
        self.committed: dict[int, dict[int, int]] = {}
        """By location: the epoch of every op that was ever committed."""
        self.chains: dict[tuple[int, int], bytes] = {}
        self.sent_ops: dict[tuple[int, int, int], bytes] = {}
        """By location, epoch and sequence: the chain of what a leader has ever sent by that name, committed or not."""
        self.written: dict[Row, tuple[int, int]] = {}
        """Rows of committed ops, and where."""
        self.seals: dict[int, int] = {}
        self.acked: dict[int, list[tuple[float, int]]] = {}
        """By location: when which sequence was first acknowledged by a quorum or seen by a read; both rise."""
        self.promises: dict[int, int] = {}
        self.commits: dict[tuple[int, int], int] = {}
        self.counters: dict[int, int] = {}
        self.counts: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # Called by the nodes

    def started(self, hosted: Hosted) -> None:
        """I2, over restarts: what was promised aloud is on disk."""
        told = self.promises.get(self._key(hosted), 0)
        if hosted.kept.promised < told:
            raise Broken(f"replica {hosted.id} promised {told} and comes back with {hosted.kept.promised} (I2)")
        log = hosted.replica._state.log
        self.commits[self._key(hosted), 0] = log.commit
        if log.commit:
            # A union begins with something committed that nobody appended to it.
            self.committed.setdefault(hosted.location, {}).setdefault(log.commit, log.epoch_at(log.commit))

    def _key(self, hosted: Hosted) -> int:
        return hosted.location * 10**9 + hosted.id

    def sent(self, message: Message) -> None:
        """I2: what is said of an epoch is on disk, and what is acknowledged, too. I6: a name is of one op for good."""
        if isinstance(message, Repl):
            for op in message.ops:
                if self.sent_ops.setdefault((message.location, op.epoch, op.sequence), op.chain) != op.chain:
                    raise Broken(f"replica {message.sender} sends another op {op.sequence} of epoch {op.epoch} (I6)")
        if not isinstance(message, (Promise, Ack)):
            return
        hosted = self.world.nodes[node_of(message.sender)].hosted.get(message.location)
        if hosted is None or hosted.id != message.sender:
            return
        key = self._key(hosted)
        if message.epoch > self.promises.get(key, 0):
            self.promises[key] = message.epoch
            if hosted.store.durably_promised() < message.epoch:
                raise Broken(f"replica {hosted.id} speaks of epoch {message.epoch} before it is on its disk (I2)")
        if isinstance(message, Ack) and message.match and hosted.store.durable_epoch(message.match) is None:
            raise Broken(f"replica {hosted.id} acknowledges {message.match}, which its disk may lose")

    def stepped(self, hosted: Hosted) -> None:
        """After a message, a tick, an advance: I1, I8, I9, I10."""
        state = hosted.replica._state
        if state.role is Role.LEADER:
            self._leads(hosted)
        log = state.log
        if not log.applied <= log.commit <= log.last:
            raise Broken(f"applied {log.applied}, committed {log.commit} of {log.last} ops (I8)")
        if log.commit > self.commits.get((self._key(hosted), 0), 0):
            self._commits(hosted)

    def _leads(self, hosted: Hosted) -> None:
        state = hosted.replica._state
        key = hosted.location, state.epoch
        other = self.leaders.get(key)
        if other == hosted.id:
            return
        if other is not None:
            raise Broken(f"replicas {other} and {hosted.id} both lead epoch {state.epoch} (I1)")
        self.leaders[key] = hosted.id
        self.count("leaders")
        for sequence, epoch in self.committed.get(hosted.location, {}).items():
            if sequence <= state.log.last and state.log.epoch_at(sequence) == epoch:
                continue
            if self._is_below_union(hosted, sequence):
                continue
            raise Broken(
                f"the leader of epoch {state.epoch} of location {hosted.location} lacks the committed op {sequence} of "
                f"epoch {epoch} (I9)"
            )

    def _is_below_union(self, hosted: Hosted, sequence: int) -> bool:
        ends = hosted.replica._state.log.vector.ends()
        return bool(ends) and sequence < ends[0][1] and len(self.world.metadata.parents.get(hosted.location, ())) > 1

    def _commits(self, hosted: Hosted) -> None:
        state = hosted.replica._state
        key = self._key(hosted), 0
        committed = self.committed.setdefault(hosted.location, {})
        first = self.commits.get(key, 0) + 1
        new = state.log.commit not in committed
        for sequence in range(first, state.log.commit + 1):
            epoch = state.log.epoch_at(sequence)
            if committed.setdefault(sequence, epoch) != epoch:
                raise Broken(
                    f"replica {hosted.id} of location {hosted.location} commits {sequence} of epoch {epoch}, and "
                    f"{committed[sequence]} is there (I5)"
                )
        self.commits[key] = state.log.commit
        if new and state.role is Role.LEADER:
            if (hosted.location, state.epoch) not in self.world.metadata.activated:
                raise Broken(f"epoch {state.epoch} commits {state.log.commit} and is not active (I10)")
            self._is_on_majority(hosted, state.log.commit, state.epoch)

    def _is_on_majority(self, hosted: Hosted, sequence: int, epoch: int) -> None:
        voters = self.world.metadata.voters_of[hosted.location, epoch]
        own = hosted.replica._state.log.epoch_at(sequence)
        have = [v for v in voters if self._has_durably(hosted.location, v, sequence, own)]
        if len(have) <= len(voters) // 2:
            raise Broken(f"{hosted.location}: {sequence} of epoch {epoch} is committed; of {voters} {have} have it")

    def _has_durably(self, location: int, replica: int, sequence: int, epoch: int) -> bool:
        node = self.world.nodes[node_of(replica)]
        hosted = node.hosted.get(location)
        if replica in self.world.operator.dead or (hosted is not None and hosted.id != replica):
            # It was there when it said so; whether too many were lost is for others to say.
            return True
        from tests.sim_replication.node import Store

        return Store(node.disk, location).durable_epoch(sequence) in (0, epoch)

    def applied(self, hosted: Hosted, op: Op, rows: list[Row]) -> None:
        """I5, I11, I13, and counters that rise along a log."""
        key = hosted.location, op.sequence
        known = self.chains.get(key)
        for row in rows:
            if row in hosted.rows:
                raise Broken(f"replica {hosted.id} applies {row} twice (I11)")
        if known is not None:
            if known != op.chain:
                raise Broken(f"replica {hosted.id} applies another op {op.sequence} than others (I5)")
            return
        self.chains[key] = op.chain
        self.count(op.kind.name)
        seal = self.seals.get(hosted.location)
        if op.kind in SEALS:
            if seal is not None:
                raise Broken(f"location {hosted.location} is sealed at {seal} and at {op.sequence} (I13)")
            self.seals[hosted.location] = op.sequence
        if op.kind in WRITES:
            if seal is not None and op.sequence > seal:
                raise Broken(f"op {op.sequence} of location {hosted.location} is written after its seal {seal} (I13)")
            if op.map_version != self.world.metadata.records[hosted.location].map_version:
                raise Broken(f"op {op.sequence} of location {hosted.location} is of map {op.map_version} (I13)")
        if op.rows:
            if op.first_counter <= self.counters.get(hosted.location, 0):
                raise Broken(f"the counters of op {op.sequence} of location {hosted.location} do not rise")
            self.counters[hosted.location] = op.first_counter + op.rows - 1
        for row in rows:
            if row in self.written:
                raise Broken(f"{row} is written at {self.written[row]} and at {key} (I11)")
            self.written[row] = key

    def installed(self, hosted: Hosted, snapshot: Snapshot) -> None:
        """I12: only what is committed is in a snapshot."""
        self.count("snapshots")
        sequence = snapshot.state.sequence
        epoch = self.committed.get(hosted.location, {}).get(sequence)
        if epoch is not None and snapshot.state.vector[-1][0] != epoch:
            raise Broken(f"a snapshot at {sequence} is of epoch {snapshot.state.vector[-1][0]} and not {epoch} (I12)")
        missing = [row for row, (location, at) in self.written.items()
                   if location == hosted.location and at <= sequence and row not in hosted.rows]  # fmt: skip
        if missing:
            raise Broken(f"a snapshot at {sequence} lacks {missing} (I12)")

    # Acknowledgements and reads

    def acknowledged(self, hosted: Hosted, answer: Written, rows: list[Row], level: int) -> None:
        """I10 and I11: what is acknowledged by a quorum is committed, once, in an active epoch."""
        state = hosted.replica._state
        if (hosted.location, state.promised) not in self.world.metadata.activated:
            raise Broken(f"epoch {state.promised} of location {hosted.location} answers and is not active (I10)")
        voters = self.world.metadata.voters_of[hosted.location, state.promised]
        if answer.acks not in (QUORUM, ALL) and answer.acks <= len(voters) // 2:
            return
        self.count("acknowledged")
        for row in rows:
            if row not in self.written and answer.sequence:
                raise Broken(f"{row} is acknowledged as {answer} and not committed")
        if answer.acks == ALL and not answer.duplicate:
            for voter in voters:
                if not self._has_durably(hosted.location, voter, answer.sequence, answer.epoch):
                    raise Broken(f"{answer} is not on the disk of {voter}")
        self.seen(hosted.location, answer.sequence)

    def seen(self, location: int, sequence: int) -> None:
        acked = self.acked.setdefault(location, [])
        if not acked or acked[-1][1] < sequence:
            acked.append((self.world.now, sequence))

    def floor(self, location: int, time: float | None = None) -> int:
        """What a read that begins now, or that may be as old as a time, has to see at least."""
        floor = 0
        for at, sequence in self.acked.get(location, ()):
            if time is None or at <= time:
                floor = sequence
        return floor

    def is_succeeded(self, location: int, time: float | None = None) -> bool:
        """Whether something was acknowledged where the location's successors are."""
        for child, parents in self.world.metadata.parents.items():
            if location in parents and (self.floor(child, time) or self.is_succeeded(child, time)):
                return True
        return False

    # Called at the end

    def whole(self) -> None:
        """What is acknowledged is there, once, on all replicas; they are equal."""
        for record in self.world.metadata.living():
            expected = {row for row in self.written if record.low <= row[2] < record.high}
            for replica in record.voters:
                hosted = self.world.nodes[node_of(replica)].hosted[record.location]
                if hosted.rows != expected:
                    raise Broken(
                        f"replica {replica} of location {record.location} lacks {sorted(expected - hosted.rows)} and "
                        f"has {sorted(hosted.rows - expected)} beside"
                    )
