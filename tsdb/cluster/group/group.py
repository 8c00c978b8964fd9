"""One node's part in a group of several: the Raft member, the connections, and what may be asked of them.

It is a ``metadata.agreement.Agreement``; what is asked comes from any thread and is done on the group's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

import uvloop

from tsdb.cluster.founding import change_schema, leftovers, made_by
from tsdb.cluster.fragments.channels import Place as RowsAt
from tsdb.cluster.fragments.fragments import Fragments
from tsdb.cluster.group.applying import AppliedStore
from tsdb.cluster.group.desk import Desk
from tsdb.cluster.group.handing_over import FullDisk, give_when_drained, hand_over
from tsdb.cluster.group.joining import CLUSTER, ROWS, Place, check_meant, come_in, member_of
from tsdb.cluster.group.proposer import Proposer
from tsdb.cluster.group.readiness import Readiness, obstacle_of
from tsdb.cluster.group.removed import check_not_removed, removal
from tsdb.cluster.group.supervisor import Supervisor
from tsdb.cluster.group.switch import Switch
from tsdb.cluster.group.waiting import waiting
from tsdb.cluster.metadata.agreement import Standing, Told, unchecked
from tsdb.cluster.metadata.commands import Action, Assign, ChangeMember, Expected
from tsdb.cluster.metadata.machine import Outcome
from tsdb.cluster.metadata.records import Answer, Member
from tsdb.cluster.metadata.state import State
from tsdb.cluster.raft.settings import Settings
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.cluster.replicas.copying import Copying
from tsdb.cluster.replicas.direct import DirectRounds
from tsdb.cluster.replicas.driver import ReplicaDriver
from tsdb.cluster.replicas.moving import expected_of
from tsdb.cluster.replicas.shared import Shared
from tsdb.cluster.routing.exchange import Exchange
from tsdb.cluster.transport.greeting import Identity
from tsdb.cluster.transport.members import Member as Reachable
from tsdb.cluster.transport.tls import NodeTls
from tsdb.cluster.transport.transport import LogStream, Transport
from tsdb.errors import AdminShutdown, CannotConnectNow, StartupError, TsdbError
from tsdb.leaving import IsLeft, here, never, result_of
from tsdb.prompt import may_wait
from tsdb.storage.engine import Engine
from tsdb.storage.options import Options

log = logging.getLogger(__name__)

R = TypeVar("R")

JOIN_S = 60.0
CATCH_UP_S = 3.0
LOOK_S = 0.25
MOVE_S = 1.0
INTRODUCE_S = 1.0
LISTEN_S = 2.0
READY_S = 0.5


class Group:
    """Started when it is made; ``close`` before the engine."""

    def __init__(self, engine: Engine, options: Options, place: Place) -> None:
        """Raises StartupError, DataCorrupted."""
        self.engine = self._engine = engine
        self.copy_rate = options.copy_rate
        self.hints_waiting: Callable[[], int] = int
        self._clock = options.clock
        self._abort = options.abort
        self._leave = options.leave
        self._place = place
        self._told_of: list[Told] = []
        tls = NodeTls(place.certificate, place.key, place.authority)
        self.identity, self._peers = come_in(engine, options, place, tls)
        self._store = AppliedStore(engine, self._told, self._shown)
        check_meant(self.identity, len([*self.state.all(Member)]) == 1, place, tls)
        check_not_removed(self.state, self.identity, tls)
        self._addresses: dict[str, str] = {CLUSTER: place.address}
        self._serves = False
        """Whether ``_addresses`` are all that there are: clients' ports are known only when they are open."""
        self._tasks: list[asyncio.Task[None]] = []
        # Set before the last work is given to the event loop.
        self._closed = False
        self._closing = threading.Lock()
        self._log_pool = ThreadPoolExecutor(1, "raft")
        chance = random.SystemRandom()
        self.driver = RaftDriver(
            Settings(node=self.identity.node), self._store, self._send, self._open_stream, self._clock, self._log_pool,
            chance.randrange,
        )  # fmt: skip
        self.supervisor = Supervisor(self.driver, place.lost_s, place.lost_node_s, self.answers)
        life = f"node-{self.identity.node}-{secrets.token_hex(8)}"
        self._readiness = Readiness()
        self._proposer = Proposer(self, self._clock, life, lambda: self.state, place.patience_s)
        self._desk = Desk(self)
        me = Identity(self.identity.cluster, self.identity.node, self.identity.uuid, tls.name)
        self._tls = tls
        self._loop = uvloop.new_event_loop()
        switch = Switch(self.driver)
        self._transport = Transport(
            me, tls, switch, self._clock, chance.random, operated=self._desk.serve, at_once=switch.at_once,
            answer=switch.answer,
        )  # fmt: skip
        self.exchange = switch.exchange = Exchange(self._transport, self._loop, self._name_of)
        self._fragments = Fragments(tls, self._loop, self.exchange, self._node_of, self._rows_of)
        self.replicas = switch.replicas = ReplicaDriver(
            engine,
            self._clock,
            self._loop,
            self._transport.offer,
            self.propose_here,
            lambda: self.state,
            self._abort,
            options.replica_log_bytes,
            options.marker_interval,
            options.check_interval,
            options.producer_window,
        )
        self.copies = Copying(engine, self.replicas, self.exchange, options.copy_rate)
        self._direct = DirectRounds(engine.node, self.replicas.host, self._transport.lines)
        self.shared = Shared(
            engine, self.replicas.host, self._clock, lambda: self.state, self.replicas.rounds, self._direct,
            self.replicas.comparing,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster", daemon=True)
        self._thread.start()
        try:
            self._ask(self._start())
            self._wait_until_there()
        except BaseException:
            self.close()
            raise

    # Life

    async def _start(self) -> None:
        await self._transport.start(self._place.host, self._place.port)
        if self._place.rows_port is not None:
            port = self._fragments.start(self._place.host, self._place.rows_port, self._rows_port_before())
            self._addresses[ROWS] = f"{self._place.address.rpartition(':')[0]}:{port}"
        self._follow_members()
        self._tasks = [
            asyncio.create_task(each)
            for each in (
                self._drive(),
                self._replicate(),
                self._copy(),
                self._look(),
                self._move(),
                self._introduce(),
                self._listen(),
                self._fragments.run(),
                self._know_whether_ready(),
            )
        ]
        if self.driver.status.configuration.all_voters() == [self.identity.node]:
            self.driver.campaign()

    async def _drive(self) -> None:
        try:
            await self.driver.run()
        except Exception as error:
            log.exception("the member of the metadata's group failed")
            self._abort(f"the metadata's group failed: {type(error).__name__}: {error}")

    async def _replicate(self) -> None:
        try:
            await self.replicas.run()
        except Exception as error:
            log.exception("the replicas of this node failed")
            self._abort(f"the replicas of this node failed: {type(error).__name__}: {error}")

    async def _copy(self) -> None:
        try:
            await self.copies.run()
        except Exception as error:
            log.exception("copies for this node's replicas failed")
            self._abort(f"copies for the replicas of this node failed: {type(error).__name__}: {error}")

    async def _move(self) -> None:
        """Have databases at as many nodes as they should be."""
        full_disk = FullDisk()
        while True:
            await asyncio.sleep(MOVE_S)
            await give_when_drained(self)
            await full_disk.look(self, self._loop.time())
            if not self.supervisor.leads:
                continue
            waits = await waiting(self)
            state = self.state
            for action in self.supervisor.moves(state, self._loop.time(), waits):
                try:
                    await self.propose_here(action, expected_of(state, action))
                except TsdbError as error:
                    log.info("replicas were not moved: %s", error.message)
                    break

    async def _look(self) -> None:
        while True:
            now = self._loop.time()
            self.supervisor.look(self.state, now)
            assignments = self.supervisor.assignments(self.state, now)
            if assignments:
                try:
                    await self.propose_here(Assign(tuple(assignments)))
                except TsdbError as error:
                    log.info("no other leaders were assigned: %s", error.message)
            await asyncio.sleep(LOOK_S)

    async def _introduce(self) -> None:
        """Let the others know who and where this node is, and drop what an earlier life of it has left."""
        cleaned = False
        while True:
            await asyncio.sleep(INTRODUCE_S)
            try:
                await self.introduce_here()
                if not cleaned:
                    await self._loop.run_in_executor(None, self._clean_up)
                    cleaned = True
            except TsdbError as error:
                log.info("the cluster does not know yet where this node is: %s", error.message)

    async def _listen(self) -> None:
        """Who is cut off asks whether it belongs to the cluster at all any more."""
        while True:
            await asyncio.sleep(LISTEN_S)
            voters = self.driver.status.configuration.voters
            if 2 * sum(self.answers(each) for each in voters) > len(voters):
                continue
            said = await self._loop.run_in_executor(None, removal, self.state, self.identity, self._tls)
            if said is not None:
                self._leave(said)
                return

    async def _know_whether_ready(self) -> None:
        while True:
            now = self._loop.time()
            found = obstacle_of(self.state, has_leader=self.driver.has_leader, answers=self.answers)
            self._readiness.look(found, now)
            await asyncio.sleep(READY_S)

    def _clean_up(self) -> None:
        left = tuple(leftovers(self._engine.catalog, made_by(self.identity.node)))
        if left:
            change_schema(self._engine, self, left)

    def _wait_until_there(self) -> None:
        """A node that joins serves when it has the metadata; one that was here before, at the latest after a while."""
        if not self._store.applied:
            end = self._ask(self._until_there())
            if not end:
                raise StartupError(
                    f"the cluster has taken this node as node {self.identity.node}, but did not send its metadata in "
                    f"{JOIN_S:g} s: can its nodes reach this one at {self._place.address}?"
                )
        try:
            self._ask(self._readable(CATCH_UP_S))
        except CannotConnectNow:
            log.warning("the cluster has no leader yet: this node shows the schema that it knows, and cannot change it")

    async def _until_there(self) -> bool:
        end = self._loop.time() + JOIN_S
        while not self._store.applied and self._loop.time() < end:  # noqa: ASYNC110 (another thread writes it)
            await asyncio.sleep(0.02)
        return self._store.applied > 0

    def hand_over(self, seconds: float) -> None:
        self._ask(hand_over(self, seconds))

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._fragments.close()
        self._direct.stop()
        self.copies.stop()
        self.replicas.comparing.stop()
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        # What is written or applied meanwhile ends first: it tells the event loop of it.
        self._log_pool.shutdown(wait=True)
        self.copies.close()
        self.replicas.comparing.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.exchange.stop()
        await self._transport.stop()
        # Who came until the listener was closed has a task, too, and a connection that only its task closes.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _ask(self, work: Coroutine[Any, Any, R], result: Callable[[Future[R]], R] = Future.result) -> R:
        """Have something done on the event loop, and wait for it, by ``result``."""
        with self._closing:
            # What comes to a loop that has stopped is never begun, nor ended.
            future = asyncio.run_coroutine_threadsafe(work, self._loop) if not self._closed else None
        if future is None:
            work.close()
            raise AdminShutdown("the node stops")
        try:
            return result(future)
        except CancelledError:
            raise AdminShutdown("the node stops") from None

    # What is applied

    def _told(self, outcomes: Sequence[Outcome]) -> None:
        """In the committer's thread."""
        state = self.state
        changes = [change for outcome in outcomes for change in outcome.changes]
        for told in self._told_of:
            told(state, changes)
        self.replicas.told(state, changes)

    def _shown(self, outcomes: Sequence[Outcome]) -> None:
        self._loop.call_soon_threadsafe(self._on_applied, outcomes)

    def _on_applied(self, outcomes: Sequence[Outcome]) -> None:
        self._proposer.applied(outcomes)
        if not outcomes or any(isinstance(change.value, Member) for each in outcomes for change in each.changes):
            self._follow_members()

    def _follow_members(self) -> None:
        """Talk to those who are members now."""
        cluster = self.identity.cluster
        found: list[Reachable] = []
        for each in self.state.all(Member):
            address = dict(each.addresses).get(CLUSTER)
            if not each.gone and address is not None and each.name:
                try:
                    found.append(member_of(cluster, each.node, each.uuid, each.name, address))
                except ValueError as error:
                    log.warning("node %d cannot be reached: %s", each.node, error)
        if UUID(bytes=self.state.group.cluster) != cluster:
            found = self._peers
        self._transport.set_members(found)

    # ``metadata.agreement.Agreement``

    @property
    def state(self) -> State:
        return self._store.metadata.machine.state

    @property
    def standing(self) -> Standing:
        return self._ask(self._standing())

    async def _standing(self) -> Standing:
        status = self.driver.status
        configuration = status.configuration
        return Standing(
            status.node, status.leader, configuration.voters, configuration.learners, self.state.group.applied
        )

    def propose(
        self, action: Action, expected: tuple[Expected, ...] = (), check: Callable[[], None] = unchecked
    ) -> Answer:
        may_wait()
        if check is not unchecked:
            self._check(check)
        return self._ask(self.propose_here(action, expected, here()))

    def _check(self, check: Callable[[], None]) -> None:
        try:
            self._engine.call(check)
        except Exception:
            # What this node knows may be old: what speaks against it has to hold for what all have agreed on.
            self.wait_readable()
            self._engine.call(check)

    @property
    def has_others(self) -> bool:
        return True

    def wait_readable(self, seconds: float | None = None) -> None:
        may_wait()
        self._ask(self._readable(self._place.patience_s if seconds is None else seconds), result_of)

    async def _readable(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.driver.wait_readable()
        except TimeoutError:
            raise CannotConnectNow(
                f"the cluster did not say within {seconds:g} s what was agreed on last: it has no leader that this "
                "node could reach",
                hint="More than half of its voting nodes must run and reach each other: tsdb cluster status.",
            ) from None

    @property
    def obstacle(self) -> str | None:
        return self._readiness.obstacle

    def watch(self, told: Told) -> None:
        self._told_of.append(told)

    def gauges(self) -> Mapping[str, float]:
        return self._ask(self._gauges())

    async def _gauges(self) -> Mapping[str, float]:
        replicas = await self._loop.run_in_executor(None, self.replicas.gauges)
        found = {
            **self.driver.gauges(),
            **self._transport.gauges(),
            **replicas,
            **self.copies.gauges(),
            **self._fragments.gauges(),
        }
        configuration = self.driver.status.configuration
        found["cluster_nodes"] = sum(not each.gone for each in self.state.all(Member))
        found["cluster_voters"] = len(configuration.voters)
        found["cluster_learners"] = len(configuration.learners)
        found["cluster_has_leader"] = float(self.driver.status.leader != 0)
        return found

    def introduce(self, addresses: Mapping[str, str]) -> None:
        """Where this node is reached for other purposes: told to all, soon. Those that it had before and has not now
        are forgotten."""

        def learn() -> None:
            self._addresses.update(addresses)
            self._serves = True

        self._loop.call_soon_threadsafe(learn)

    # For the parts, on the event loop

    async def propose_here(
        self, action: Action, expected: tuple[Expected, ...] = (), is_left: IsLeft = never
    ) -> Answer:
        return await self._proposer.propose(action, expected, is_left)

    async def readable_here(self) -> None:
        await self._readable(self._place.patience_s)

    async def introduce_here(self) -> None:
        """Let the metadata say where this node is, as it is."""
        member = self.state.get(Member, self.identity.node)
        if member is None or member.gone:
            return
        known = {} if self._serves else dict(member.addresses)
        addresses = tuple(sorted({**known, **self._addresses}.items()))
        if (member.addresses, member.name) != (addresses, self._tls.name):
            await self.propose_here(ChangeMember(self.identity.node, addresses, name=self._tls.name))

    def leads_in(self) -> tuple[int, int]:
        status = self.driver.status
        return status.term, status.leader

    def pass_on(self, command: bytes) -> None:
        self.driver.propose(command)

    def silent_s(self, node: int) -> float:
        return self.supervisor.silent_s(node, self._loop.time())

    def answers(self, node: int) -> bool:
        """Whether this node is connected to another, or is it."""
        return node == self.identity.node or self._transport.is_connected(node)

    def _send(self, message: Any) -> bool:
        return self._transport.send(message)

    def _name_of(self, node: int) -> str:
        member = self.state.get(Member, node)
        return f"node {node} ({member.name})" if member is not None and member.name else f"node {node}"

    def _node_of(self, name: str) -> int | None:
        """The member of that name."""
        found = (each.node for each in self.state.all(Member) if each.name == name and not each.gone)
        return next(found, None)

    def _rows_port_before(self) -> int:
        """The port that others know, 0 if they know of none: a node that comes back keeps it if it can."""
        known = self._rows_of(self.identity.node)
        return 0 if known is None else int(known.address.rpartition(":")[2])

    def _rows_of(self, node: int) -> RowsAt | None:
        """Where a node's rows are fetched; None: nowhere."""
        member = self.state.get(Member, node)
        address = None if member is None or member.gone else dict(member.addresses).get(ROWS)
        return None if member is None or address is None else RowsAt(address, member.name)

    async def _open_stream(self, peer: int) -> LogStream:
        return await self._transport.open_stream(peer)
