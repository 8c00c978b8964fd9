"""The edge of ``raft.clients.Feeds``: guests that follow what is committed here get it over their own connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from tsdb.cluster.dispatch import AFTER_BYTES, PATIENCE_S, PIN_TICKS
from tsdb.cluster.pieces import Sending
from tsdb.cluster.raft.clients import Feeds, FeedSnapshot, Follow, Followed
from tsdb.cluster.raft.node import Node
from tsdb.cluster.raft_store import RaftStore
from tsdb.cluster.transport import codec
from tsdb.cluster.transport.frames import Kind
from tsdb.cluster.transport.guests import Guest
from tsdb.cluster.transport.outbox import StreamBroken

log = logging.getLogger(__name__)

PIN = "clients"
"""One for all of them, renewed by each state that is begun: the log that it holds is short."""


class Feeding:
    """Follower numbers are the guests', which no other guest of this process has. Called in the core's turn."""

    def __init__(self, node: Node, store: RaftStore) -> None:
        self._node = node
        self._store = store
        self._feeds = Feeds(node.status.node)
        self._guests: dict[int, Guest] = {}
        self._states: dict[int, asyncio.Task[None]] = {}
        self._now = 0

    def __len__(self) -> int:
        return len(self._feeds)

    def step(self, guest: Guest, message: Follow | Followed) -> None:
        self._guests[guest.number] = guest
        if isinstance(message, Follow):
            self._stop_state(guest.number)
        self._feeds.step(msgspec.structs.replace(message, sender=guest.number))

    def forget(self, guest: Guest) -> None:
        self._guests.pop(guest.number, None)
        self._feeds.forget(guest.number)
        self._stop_state(guest.number)

    def tick(self, now: int) -> None:
        self._now = now
        self._feeds.tick()

    def send(self) -> None:
        """What is to be sent now: called after every change of the log and every tick."""
        if not len(self._feeds):
            return
        for message in self._feeds.messages(self._node):
            guest = self._guests.get(message.to)
            if guest is None:
                continue
            if isinstance(message, FeedSnapshot):
                snapshot, frozen = self._store.begin_snapshot(PIN, self._now, self._now + PIN_TICKS)
                what = msgspec.structs.replace(message, snapshot=snapshot)
                self._states[guest.number] = asyncio.create_task(self._send_state(guest, what, frozen))
            else:
                # One that does not read misses this, notices by what comes next, and begins again.
                guest.offer(Kind.RAFT, codec.encode(message, guest.version))

    async def _send_state(self, guest: Guest, what: FeedSnapshot, frozen: Callable[[], bytes]) -> None:
        """Whoever misses a part begins again with another member: what is cut is not gone on with."""
        body = await asyncio.get_running_loop().run_in_executor(None, frozen)
        sending = Sending(what, body)
        sending.resume(0)
        try:
            await guest.send(sending.begin())
            while (part := sending.next()) is not None:
                async with asyncio.timeout(PATIENCE_S):
                    await guest.send(part, AFTER_BYTES)
                self._feeds.heard(guest.number)
        except (StreamBroken, TimeoutError) as error:
            log.info("the state for %s was cut: %s", guest, str(error) or "it does not read")

    def _stop_state(self, number: int) -> None:
        task = self._states.pop(number, None)
        if task is not None:
            task.cancel()

    async def stop(self) -> None:
        """Nothing more is sent."""
        tasks = list(self._states.values())
        for number in list(self._states):
            self._stop_state(number)
        await asyncio.gather(*tasks, return_exceptions=True)
