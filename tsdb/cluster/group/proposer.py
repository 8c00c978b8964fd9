"""Has an action agreed on exactly once, whoever leads meanwhile: by this life's client session in the group.

A command is passed on to the leader and may be lost on the way, or answered by nobody. It is numbered, so it may be
sent again until this node has applied it; the group answers a number once. One command of a node is under way at a
time: each acknowledges those before it, so one that was given up can never come to effect after the next one has.

It belongs to the event loop of the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from tsdb.clock import Clock
from tsdb.cluster.metadata.commands import Action, Command, Expected, OpenClient, encode
from tsdb.cluster.metadata.machine import Outcome, error_of
from tsdb.cluster.metadata.records import Answer, ClientSession
from tsdb.cluster.metadata.state import State
from tsdb.errors import CannotConnectNow, StatementCompletionUnknown, TsdbError
from tsdb.leaving import IsLeft, left, never

SESSION_TTL_NS = 3_600 * 10**9
AGAIN_S = 2.0
"""A command that nobody has answered for so long is sent again, though its leader still leads."""
_LOOK_S = 0.02


class Passing(Protocol):
    """What the proposer needs of the Raft member."""

    def leads_in(self) -> tuple[int, int]:
        """(term, leader); leader 0: nobody that this node knows of."""
        ...

    def pass_on(self, command: bytes) -> None:
        """To the leader; it may be lost."""
        ...


class Proposer:
    """``name`` is unique to this life of the node; ``seconds`` is how long an action may take."""

    def __init__(self, group: Passing, clock: Clock, name: str, state: Callable[[], State], seconds: float) -> None:
        self._group = group
        self._clock = clock
        self._life, self._sessions = name, 0
        self._state = state
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._client = 0
        self._number = 0
        self._awaited: asyncio.Future[tuple[Answer, TsdbError | None]] | None = None

    @property
    def _name(self) -> str:
        return f"{self._life}.{self._sessions}"

    def applied(self, outcomes: Sequence[Outcome]) -> None:
        """These were applied here; none: a snapshot was, with whatever had led to it."""
        if self._client == 0:
            self._client = self._own_client()
        waiting = self._awaited
        if waiting is None or waiting.done() or self._client == 0:
            return
        for outcome in outcomes:
            if (outcome.client, outcome.number) == (self._client, self._number):
                waiting.set_result((outcome.answer, outcome.error))
                return
        session = None if outcomes else self._state().get(ClientSession, self._client)
        known = None if session is None else dict(session.answers).get(self._number)
        if known is not None:
            waiting.set_result((known, error_of(known)))

    def _own_client(self) -> int:
        """The first session of this life's name: there may be more, if the request for it was sent again."""
        sessions = self._state().all(ClientSession)
        return next((each.client for each in sessions if each.name == self._name and not each.database), 0)

    async def propose(self, action: Action, expected: tuple[Expected, ...] = (), is_left: IsLeft = never) -> Answer:
        """Raises the refusal; CannotConnectNow, StatementCompletionUnknown; QueryCanceled when it is left before it
        was sent to anybody."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        await self._take_turn(deadline, is_left)
        try:
            return await self._propose(action, expected, deadline, is_left)
        finally:
            self._turn.release()

    async def _take_turn(self, deadline: float, is_left: IsLeft) -> None:
        """Nothing of it was sent to anybody before."""
        loop = asyncio.get_running_loop()
        turn = loop.create_task(self._turn.acquire())
        try:
            while not turn.done():
                if is_left():
                    raise left()
                if (rest := deadline - loop.time()) <= 0:
                    raise CannotConnectNow(
                        f"another change of the cluster's metadata has waited for a leader for {self._seconds:g} s, "
                        "and this one for it; nothing was changed by it",
                        hint="Try again. What the cluster says of itself: tsdb cluster status.",
                    )
                await asyncio.wait([turn], timeout=rest if is_left is never else min(rest, _LOOK_S))
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._turn.release()
            turn.cancel()
            raise
        turn.result()

    async def _propose(
        self, action: Action, expected: tuple[Expected, ...], deadline: float, is_left: IsLeft
    ) -> Answer:
        while True:
            await self._open_session(deadline, is_left)
            self._number += 1
            done: asyncio.Future[tuple[Answer, TsdbError | None]] = asyncio.get_running_loop().create_future()
            self._awaited = done
            client = self._client
            command = Command(action, self._clock.now_ns(), expected, client, self._number, self._number - 1)
            try:
                await self._send(encode(command), done.done, deadline, is_left, is_change=True)
            finally:
                self._awaited = None
            answer, error = done.result()
            if error is not None and self._state().get(ClientSession, client) is None:
                # It was refused for its session, which had ended: this number never counted.
                self._client, self._number = 0, 0
                self._sessions += 1
                continue
            if error is not None:
                raise error
            return answer

    async def _open_session(self, deadline: float, is_left: IsLeft) -> None:
        self._client = self._client or self._own_client()
        if self._client == 0:
            body = encode(Command(OpenClient(self._name, SESSION_TTL_NS), self._clock.now_ns()))
            await self._send(body, lambda: self._client != 0, deadline, is_left, is_change=False)

    async def _send(
        self, body: bytes, done: Callable[[], bool], deadline: float, is_left: IsLeft, *, is_change: bool
    ) -> None:
        """Send a command to whoever leads, until it is ``done``. Raises as ``propose`` when there is no time left."""
        loop = asyncio.get_running_loop()
        sent: tuple[int, int] | None = None
        sent_at = 0.0
        while not done():
            now = loop.time()
            if now >= deadline:
                raise self._late(was_sent=sent is not None and is_change)
            if is_left() and (sent is None or not is_change):
                raise left()
            leads = self._group.leads_in()
            if leads[1] and (leads != sent or now - sent_at >= AGAIN_S):
                self._group.pass_on(body)
                sent, sent_at = leads, now
            await self._wait(min(_LOOK_S if sent is None else 5 * _LOOK_S, deadline - now), done)

    async def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        if self._awaited is not None:
            await asyncio.wait([self._awaited], timeout=seconds)
        elif not done():
            await asyncio.sleep(min(seconds, _LOOK_S))

    def _late(self, *, was_sent: bool) -> TsdbError:
        if was_sent:
            return StatementCompletionUnknown(
                f"the cluster did not answer within {self._seconds:g} s: the change may be done, or be soon, or not",
                hint="Look whether it is there before you repeat it.",
            )
        return CannotConnectNow(
            f"the cluster has no leader that this node could reach within {self._seconds:g} s, so nothing was changed",
            hint="More than half of its voting nodes must run and reach each other: tsdb cluster status.",
        )
