"""Where a node answers operators, and nodes that want to join (``control``). On the event loop of the group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from tsdb.cluster import operations
from tsdb.cluster.group import control, spreading
from tsdb.cluster.group.balancing import Balanced, rebalance
from tsdb.cluster.group.control import Done, Joined, NodeReport, Peer, Report, Request, Response
from tsdb.cluster.group.leaving import leave
from tsdb.cluster.group.undelivered import check_delivered
from tsdb.cluster.metadata.commands import (
    AddMember,
    ChangeMember,
    NewMember,
    RemoveMember,
    SetReplication,
)
from tsdb.cluster.metadata.records import LocationRecord, Member, Ring
from tsdb.cluster.raft.entries import Configuration
from tsdb.cluster.raft_driver import RaftDriver
from tsdb.cluster.replicas.driver import ReplicaDriver
from tsdb.errors import (
    InternalError,
    InvalidCatalogName,
    ObjectNotInPrerequisiteState,
    ProtocolViolation,
    TsdbError,
)

log = logging.getLogger(__name__)

REQUEST_S = 10.0
TRANSFER_S = 5.0
CHECK_S = 3600.0
CLUSTER = "cluster"


class Asked(Balanced, Protocol):
    """The part of ``group.Group`` that is asked, on its event loop."""

    driver: RaftDriver
    replicas: ReplicaDriver
    hints_waiting: Callable[[], int]

    async def readable_here(self) -> None: ...

    async def introduce_here(self) -> None: ...

    def silent_s(self, node: int) -> float: ...


class Desk:
    """``serve`` answers one connection."""

    def __init__(self, group: Asked) -> None:
        self._group = group

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                body = await reader.readexactly(control.length(await reader.readexactly(control.LENGTH.size)))
            answer = await self._answer(control.decode_request(body), name)
        except TsdbError as error:
            answer = control.failed(error)
        except (EOFError, OSError, TimeoutError):
            return
        except Exception:
            log.exception("a request of %s could not be answered", name)
            answer = control.failed(InternalError("the node could not answer: its log says why"))
        writer.write(control.encode(answer))
        async with asyncio.timeout(REQUEST_S):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _answer(self, request: Request, name: str) -> Response:
        match request:
            case control.Status():
                return self._report()
            case control.Join():
                return await self._join(request, name)
            case control.Drain():
                return await self._drain(request, name)
            case control.Remove():
                return await self._remove(request, name)
            case control.Transfer():
                return await self._transfer(request, name)
            case control.Replicate():
                return await self._replicate(request, name)
            case control.Check():
                return await self._check(request)
            case control.Rebalance():
                return await self._rebalance(request, name)
            case control.Spread() | control.Split() | control.Merge():
                return await self._spread(request, name)

    # Joining

    async def _join(self, request: control.Join, name: str) -> Joined:
        new = request.member
        if new.name != name:
            raise ProtocolViolation(f"{name} asked to be let in as {new.name}")
        group = self._group
        # Who joins must find its way back here.
        await group.introduce_here()
        (node,) = (await group.propose_here(AddMember(NewMember(new.uuid, new.addresses, name=name)))).values
        log.info("node %d (%s) has joined", node, name)
        peers = tuple(
            Peer(each.node, each.uuid, each.name, dict(each.addresses).get(CLUSTER, ""))
            for each in group.state.all(Member)
            if not each.gone
        )
        return Joined(node, group.state.group.cluster, peers)

    # Looking

    def _report(self) -> Report:
        group = self._group
        state, status, gauges = group.state, group.driver.status, group.driver.gauges()
        offset = gauges["clock_offset_seconds"]
        held, led = operations.held(state)
        nodes = [
            NodeReport(
                each.node, each.uuid, each.name, each.addresses, _role(status.configuration, each.node), each.draining,
                held[each.node], led[each.node],
                progress.match if (progress := status.members.get(each.node)) is not None else -1,
                round(group.silent_s(each.node), 1),
            )
            for each in state.all(Member)
            if not each.gone
        ]  # fmt: skip
        reached = [each.node for each in nodes if group.answers(each.node)]
        return Report(
            status.node, state.group.cluster, status.leader, status.term, status.committed, group.driver.applied,
            None if offset != offset else offset, tuple(nodes), state.group.replication_factor,
            operations.notes(state, reached),
        )  # fmt: skip

    # Doing

    async def _drain(self, request: control.Drain, name: str) -> Done:
        await self._check_node(request.node)
        log.warning("%s %s node %d", name, "drains" if request.draining else "takes back", request.node)
        await self._group.propose_here(ChangeMember(request.node, draining=request.draining))
        return Done(operations.drained(self._group.state, request.node, draining=request.draining, moves=True))

    async def _remove(self, request: control.Remove, name: str) -> Done:
        await self._check_node(request.node)
        # Nothing is changed where that is enough to refuse it.
        await self._check_delivered(request)
        log.warning("%s removes node %d%s", name, request.node, ", accepting loss" if request.accept_loss else "")
        await leave(
            self._group, RemoveMember(request.node, request.accept_loss), partial(self._check_delivered, request)
        )
        return Done(operations.removed(request.node))

    async def _check_delivered(self, request: control.Remove) -> None:
        """Raises ObjectInUse."""
        if not request.accept_loss:
            await check_delivered(self._group, request.node)

    async def _transfer(self, request: control.Transfer, name: str) -> Done:
        group = self._group
        await self._check_node(request.to)
        status = group.driver.status
        if request.to not in status.configuration.voters:
            raise ObjectNotInPrerequisiteState(f"node {request.to} has no vote, and so cannot lead")
        if status.leader == request.to:
            return Done(f"node {request.to} leads already")
        if (member := group.state.get(Member, request.to)) is not None and member.draining:
            raise ObjectNotInPrerequisiteState(
                f"node {request.to} is drained, and would give the lead away again",
                hint=f"Take it back first: tsdb cluster add {request.to}.",
            )
        log.warning("%s asks node %d to lead", name, request.to)
        group.driver.transfer_leadership(request.to)
        try:
            async with asyncio.timeout(TRANSFER_S):
                while group.driver.status.leader != request.to:  # noqa: ASYNC110 (the core tells nobody)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ObjectNotInPrerequisiteState(
                f"node {request.to} does not lead after {TRANSFER_S:g} s",
                hint="It has to run, and to have caught up with the others: tsdb cluster status.",
            ) from None
        return Done(f"node {request.to} leads")

    async def _replicate(self, request: control.Replicate, name: str) -> Done:
        group = self._group
        await group.readable_here()
        staying = sum(not each.gone and not each.draining for each in group.state.all(Member))
        if request.factor > staying:
            raise ObjectNotInPrerequisiteState(
                f"{request.factor} nodes should have each {'' if request.database else 'new '}database, and there are "
                f"{staying}",
                hint="Let nodes join first.",
            )
        if request.database:
            return await self._replicate_one(request, name)
        log.warning("%s has new databases on %d nodes", name, request.factor)
        await group.propose_here(SetReplication(0, request.factor))
        return Done(f"databases that are created from now on have {request.factor} replicas; others stay as they are")

    async def _replicate_one(self, request: control.Replicate, name: str) -> Done:
        group, title = self._group, f'database "{request.database}"'
        ring = self._ring(request.database)
        count = "one replica" if request.factor == 1 else f"{request.factor} replicas"
        locations = [each for each in group.state.all(LocationRecord) if each.database == ring.database]
        is_so = all(len(each.voters) == request.factor and not each.learners for each in locations)
        if ring.replication_factor == request.factor and not ring.is_coming and is_so:
            return Done(f"{title} has {count} already")
        log.warning("%s has %s on %d nodes", name, title, request.factor)
        await group.propose_here(SetReplication(ring.database, request.factor))
        return Done(f"{title} will have {count}: tsdb.locations shows how far that is")

    async def _check(self, request: control.Check) -> control.Checked:
        group = self._group
        ring = self._ring(request.database)
        if ring.replication_factor == 1:
            raise ObjectNotInPrerequisiteState(
                f'database "{request.database}" has one replica: there is nothing to compare'
            )
        count = sum(each.database == ring.database for each in group.state.all(LocationRecord))
        compared, different = await group.replicas.comparing.check(ring.database, min(request.seconds, CHECK_S))
        return control.Checked(group.driver.status.node, count, tuple(compared), tuple(different))

    def _ring(self, database: str) -> Ring:
        """Raises InvalidCatalogName."""
        found = self._group.state.catalog.databases.get(database)
        ring = None if found is None else self._group.state.get(Ring, found.number)
        if ring is None:
            raise InvalidCatalogName(f'database "{database}" does not exist')
        return ring

    async def _rebalance(self, request: control.Rebalance, name: str) -> Done:
        await self._group.readable_here()
        if not request.dry_run:
            log.warning("%s has databases moved to where all nodes have about as much", name)
        return Done(await rebalance(self._group, is_dry=request.dry_run))

    async def _spread(self, request: control.Spread | control.Split | control.Merge, name: str) -> Done:
        group = self._group
        await group.readable_here()
        ring = self._ring(request.database)
        match request:
            case control.Spread():
                return Done(await spreading.spread(group, ring, request.arcs, name))
            case control.Split():
                return Done(await spreading.split(group, ring, request.arc, name, is_dry=request.dry_run))
            case control.Merge():
                return Done(await spreading.merge(group, ring, request.arc, name, is_dry=request.dry_run))

    async def _check_node(self, node: int) -> None:
        if self._group.state.get(Member, node) is None:
            await self._group.readable_here()
        refusal = operations.missing(self._group.state, node)
        if refusal is not None:
            raise refusal


def _role(configuration: Configuration, node: int) -> str:
    if node in configuration.all_voters():
        return "voter"
    return "learner" if node in configuration.learners else "none"
