"""A database that one node has for itself becomes one that several can have; its points stay where they are.

``Ring.wanted`` asks for it. From then on the node that has it gives no values of its sequences and takes no numbered
batches to it, which wait, and a refresh of its continuous views says no more how far these are stored; it has the
metadata know what it knew of all that alone, and then has the database shared (``Share``). Should that be more than the
metadata can know, it goes on as it was. Where ``Share`` is applied, between two groups of writes, each of its logs goes
on as a replica's: after its last op, with all that is applied as the replica's beginning (``beginning``). What was
interrupted is done again, from what the metadata say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Protocol, TypeVar

from tsdb.cluster.metadata.clients import PRODUCERS_MAX
from tsdb.cluster.metadata.commands import Action, Advance, Count, Expected, OpenProducer, Share
from tsdb.cluster.metadata.records import NAMES, Answer, ClientSession, ContinuousRecord, Counted, LocationRecord, Ring
from tsdb.cluster.metadata.state import State
from tsdb.cluster.replication.ops import Covered, LocationState
from tsdb.cluster.replication.producers import clipped
from tsdb.cluster.replication.record import Record
from tsdb.errors import ConfigurationLimitExceeded, SerializationFailure, TsdbError
from tsdb.model.schema import Database, Series
from tsdb.storage.engine import Engine
from tsdb.storage.log import EPOCH
from tsdb.storage.producers import WINDOW

log = logging.getLogger(__name__)
R = TypeVar("R")

AT_ONCE = 64
"""Producers of which the metadata are told at once."""


class Propose(Protocol):
    def __call__(self, action: Action, expected: tuple[Expected, ...] = ()) -> Awaitable[Answer]: ...


def coming(state: State) -> frozenset[int]:
    """The databases that are to be shared."""
    return frozenset(ring.database for ring in state.all(Ring) if ring.is_coming)


def beginning(engine: Engine, state: State, record: Record, database: int) -> LocationState | None:
    """What a location is as this node's own log of it ends now, for a replica to go on from; None if it has none. In
    the committer's thread."""
    position = engine.end_log(record.location)
    if position is None:
        return None
    sessions = {each.name: each.client for each in state.all(ClientSession) if each.database == database}
    clients = [
        Covered(
            sessions[name],
            max(highest - WINDOW, 0),
            tuple(sorted((batch, tuple(sorted(parts))) for batch, parts in batches.items())),
            tuple(sorted(digests.items())),
        )
        for name, highest, batches, digests in engine.producers_of(database)
        if name in sessions
    ]
    return LocationState(
        position.sequence,
        ((EPOCH, position.sequence),),
        position.chain,
        engine.last_counter,
        tuple(sorted(clipped(clients, record.low, record.high), key=lambda each: each.client)),
    )


class Sharing:
    """``look`` does what is to be done at this node, on the event loop."""

    def __init__(self, engine: Engine, state: Callable[[], State], propose: Propose, producer_ttl_ns: int) -> None:
        self._engine = engine
        self._state = state
        self._propose = propose
        self._producer_ttl_ns = producer_ttl_ns
        self._going_on: frozenset[int] = frozenset()
        """Databases that cannot be shared now."""
        self._said: dict[int, str] = {}

    def stop(self, state: State) -> None:
        """In the committer's thread, whenever others are coming: what is to be told of them does not change."""
        self._engine.stop_producers(coming(state) - self._going_on)

    async def look(self) -> None:
        state = self._state()
        for number in coming(state):
            database = state.catalog.databases_by_number.get(number)
            if database is not None and self._is_here(state, database):
                try:
                    await self._share(database)
                    self._said.pop(number, None)
                except TsdbError as error:
                    if self._said.get(number) != error.message:
                        log.warning('database "%s" is not shared yet: %s', database.name, error.message)
                    self._said[number] = error.message

    def _is_here(self, state: State, database: Database) -> bool:
        records = [state.get(LocationRecord, each.number) for each in database.locations]
        return all(each is not None and each.leader == self._engine.node for each in records)

    async def _share(self, database: Database) -> None:
        await self._tell_producers(database.number)
        # What was made while it went on may have been used here.
        database = self._state().catalog.databases_by_number.get(database.number, database)
        for sequence in database.sequences.values():
            if self._state().get(Counted, sequence.number) is None:
                known = await _in_thread(partial(self._engine.end_sequence, sequence))
                following = known.last + sequence.options.increment if known.called else known.last
                await self._count(Count(database.number, sequence.number, str(following), known.called))
        for view in [each for each in database.series.values() if each.continuous is not None]:
            await self._tell_progress(database, view)
        await self._propose(Share(database.number))
        log.info('the logs of database "%s" can go to other nodes from now on', database.name)

    async def _count(self, count: Count) -> None:
        """Unless it is counted there already: this may have been said before, and values may have been given since."""
        try:
            await self._propose(count, (Expected(NAMES[Counted], count.sequence, 0),))
        except SerializationFailure:
            log.info("sequence %d is counted by the metadata already", count.sequence)

    async def _tell_progress(self, database: Database, view: Series) -> None:
        """It moves no further here, as producers; and is told but once, since others may have moved it since."""
        progress = await _in_thread(partial(self._engine.end_progress, view))
        if progress is None:
            return
        records = [self._state().get(LocationRecord, each.number) for each in database.locations]
        epochs = tuple((each.location, each.epoch) for each in records if each is not None)
        action = Advance(
            database.number, view.number, progress.counter, progress.stored, progress.watermark_ns, (),
            self._engine.node, epochs,
        )  # fmt: skip
        try:
            await self._propose(action, (Expected(NAMES[ContinuousRecord], view.number, 0),))
        except SerializationFailure:
            if self._state().get(ContinuousRecord, view.number) is None:
                raise

    async def _tell_producers(self, database: int) -> None:
        """None is added here any more while they are told. Raises ConfigurationLimitExceeded for too many, with which
        it goes on as it was."""
        producers = [each for each in self._state().all(ClientSession) if each.database]
        known = {each.name for each in producers if each.database == database}
        if database in self._going_on and not self._fits(await self._names(database) - known, len(producers)):
            raise _too_many()
        self._going_on -= {database}
        await self._stopped_or_not()
        names = sorted(await self._names(database) - known)
        if not self._fits(names, len(producers)):
            self._going_on |= {database}
            await self._stopped_or_not()
            raise _too_many()
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            await asyncio.gather(*(self._propose(OpenProducer(database, name, self._producer_ttl_ns)) for name in some))

    def _fits(self, names: Collection[str], known: int) -> bool:
        """What was told before, and may be acted upon still, always does."""
        return not names or len(names) + known <= PRODUCERS_MAX

    async def _names(self, database: int) -> set[str]:
        return await _in_thread(
            lambda: self._engine.call(lambda: {name for name, *_ in self._engine.producers_of(database)})
        )

    async def _stopped_or_not(self) -> None:
        await _in_thread(lambda: self._engine.call(lambda: self.stop(self._state())))


def _too_many() -> ConfigurationLimitExceeded:
    return ConfigurationLimitExceeded(
        f"it has more producers of numbered batches than the cluster can remember, which are {PRODUCERS_MAX}"
    )


async def _in_thread(work: Callable[[], R]) -> R:
    return await asyncio.get_running_loop().run_in_executor(None, work)
