"""What every message needs: work in the pool, rows on their way out, notices, errors, ReadyForQuery.

An ``Exchange`` is made when the startup packet is accepted. ``simple`` and ``extended`` answer by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from tsdb.clock import Clock
from tsdb.errors import IdleInTransactionSessionTimeout, IdleSessionTimeout, TsdbError
from tsdb.session import answers
from tsdb.session.budget import Budget
from tsdb.session.core import Core
from tsdb.session.described import DESCRIPTIONS
from tsdb.session.notifications import Notification
from tsdb.session.planning import Plan
from tsdb.session.portals import Portal
from tsdb.session.rowset import Piece, Rowset, RowSource, RowStream
from tsdb.session.sessions import Activity
from tsdb.session.transaction import State
from tsdb.session.turns import Turns
from tsdb.session.utility import Fetch
from tsdb.session.work import WaitEvent, Work
from tsdb.sql.result import ResultColumn
from tsdb.sql.settings.setting import milliseconds
from tsdb.sql.shapes import SHAPES
from tsdb.sql.statement import Statement
from tsdb.wire import BINARY_FORMAT, TEXT_FORMAT, Client, Event

# How much of a statement's text pg_stat_activity keeps.
ACTIVITY_CHARACTERS = 1024
TEXT_READ_AT_ONCE = 4096
# By whether a transaction is open: the setting, and what a client is told that was silent for longer.
_IDLE: dict[bool, tuple[str, TsdbError]] = {
    False: ("idle_session_timeout", IdleSessionTimeout("terminating connection due to idle-session timeout")),
    True: (
        "idle_in_transaction_session_timeout",
        IdleInTransactionSessionTimeout("terminating connection due to idle-in-transaction timeout"),
    ),
}


_SHOWN = {State.BLOCK: "idle in transaction", State.FAILED: "idle in transaction (aborted)"}

# What ends a small result goes with its rows, in one packet.
SENT_TOGETHER_BYTES = 64 << 10


class Timer(Protocol):
    """What a statement's end puts an end to."""

    def cancel(self) -> None: ...


class _NoTimer:
    def cancel(self) -> None:
        """Nothing was started."""


_NO_TIMER = _NoTimer()


class Incoming(Protocol):
    """A COPY FROM that takes the client's data: see ``copying``."""

    async def receive(self, event: Event) -> None: ...

    def discard(self) -> None: ...


class Exchange:
    """``core`` and ``activity`` are set once the startup packet is accepted."""

    core: Core
    activity: Activity

    def __init__(self, client: Client, pool: Executor, clock: Clock, budget: Budget, turns: Turns) -> None:
        self.client = client
        self.connection = client.connection
        self.clock = clock
        self.work = Work(pool, budget, turns, lambda: self.core.cancellation, self._waits)
        self._reported: dict[str, str] = {}
        self._reported_generation = -1
        self._idle_timer: asyncio.TimerHandle | None = None
        self._delivering: asyncio.Task[None] | None = None
        self.incoming: Incoming | None = None

    def _waits(self, event: WaitEvent | None) -> None:
        self.activity.wait_event = event

    def release(self, portal: Portal) -> None:
        """Close a portal where blocking is allowed; nobody waits for it."""
        if portal.source is not None and not portal.source.closed:
            self.work.later(portal.close)

    async def read(self, text: str) -> Sequence[Statement]:
        """The statements of a message. Long texts are read in the pool: the event loop serves everybody."""
        if len(text) <= TEXT_READ_AT_ONCE:
            return SHAPES.statements(text)
        return await self.work(partial(SHAPES.statements, text))

    async def send_rows(self, plan: Plan, rowset: Rowset) -> str:
        """As ``send_all``, of rows of which none was made, in text or as a BINARY cursor has them."""
        command = plan.command
        portal = self.core.names.portals.get(command.name) if isinstance(command, Fetch) else None
        code = BINARY_FORMAT if portal is not None and portal.binary else TEXT_FORMAT
        return await self.send_all(stream_of(self.core, RowSource(rowset), code))

    async def send_all(self, stream: RowStream) -> str:
        """RowDescription and all rows; the tag."""
        rowset = stream.source.rowset
        self.core.cancellation.watch(rowset)
        self.describe(rowset.columns, stream.formats)
        rows = 0
        try:
            rows, _ = await self.send(stream, None)
        except BaseException:
            self.work.later(rowset.close)
            raise
        return rowset.tag(rows)

    def describe(self, columns: tuple[ResultColumn, ...], formats: Sequence[int]) -> None:
        """RowDescription."""
        self.connection.described(DESCRIPTIONS.of(columns, formats, self.connection.codec))

    async def send(self, stream: RowStream, limit: int | None) -> tuple[int, bool]:
        """Send rows, at most ``limit``. (rows sent, whether there are none left: then the rowset is closed)."""
        rows = 0
        there, piece = stream.begun()
        if not there:
            piece = await self.work(self._step(stream, limit))
        while piece is not None:
            rows += piece.rows
            self.connection.data_rows(piece.octets)
            if piece.last:
                if self.connection.output_bytes > SENT_TOGETHER_BYTES:
                    await self._flush()
                return rows, True
            piece = await self._meanwhile(self._step(stream, None if limit is None else limit - rows))
        return rows, limit is None or rows < limit

    def _step(self, stream: RowStream, left: int | None) -> Callable[[], Piece | None]:
        return partial(stream.step, left, self.core.cancellation.check)

    async def _meanwhile(self, step: Callable[[], Piece | None]) -> Piece | None:
        """Send what is collected; the next rows are made in the meantime, one piece of them."""
        ahead = asyncio.ensure_future(self.work(step))
        try:
            await self._flush()
        except BaseException as error:
            if isinstance(error, TsdbError):
                await asyncio.wait([ahead])  # it is cancelled as well; what comes next finds nothing running
            else:
                ahead.cancel()
            ahead.add_done_callback(lambda step: step.cancelled() or step.exception())  # nobody asks for its error
            raise
        return await ahead

    async def _flush(self) -> None:
        """Send rows. A cancel does not wait until the client reads: raises QueryCanceled, and the client reads of it
        behind the rows that it was sent before."""
        sending = asyncio.ensure_future(self.client.flush())
        await asyncio.sleep(0)
        cancellation = self.core.cancellation
        if self.client.blocked:
            cancellation.wait(sending.cancel)
            self._waits(("Client", "ClientWrite"))
        try:
            await sending
        except asyncio.CancelledError:
            cancellation.check()
            raise
        finally:
            cancellation.waited(sending.cancel)
            self._waits(None)

    # --- what every message ends with ---

    def failed(self, error: Exception) -> None:
        """The statement failed: its transaction as well, and the client is told."""
        core = self.core
        condition = core.cancellation.restated(answers.condition(error))
        core.fail()
        self.say()
        self.connection.error(condition)
        _forget_frames(error)

    def say(self) -> None:
        """Notices and changed settings, before the answer that they belong to."""
        for notice in self.core.take_notices():
            self.connection.notice(notice.condition, notice.severity)
        self.report()

    def ready(self) -> None:
        self.report()
        transaction = self.core.transaction
        shown = _SHOWN[transaction.state] if transaction.in_block else "idle"
        self.activity.change(shown, self.clock.now_ns())
        listener = self.core.messages.listener
        while not transaction.in_block and (notification := listener.take()) is not None:
            self._notify(notification)
        self.connection.ready(transaction.status)
        self._start_idle_timer()

    # --- between messages ---

    def busy(self) -> None:
        """A message has come."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _start_idle_timer(self) -> None:
        name, error = _IDLE[self.core.transaction.in_block]
        after = milliseconds(self.core.variables.get(name))
        if after:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(after / 1000, self.client.terminate, error)

    def deliver(self) -> None:
        """Notifications have come: send them now if the session is between transactions, else ``ready`` will."""
        if self._delivering is None or self._delivering.done():
            self._delivering = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        """One after the other, as fast as the client reads."""
        listener = self.core.messages.listener
        with contextlib.suppress(ConnectionError):
            while self.connection.idle and not self.core.transaction.in_block:
                notification = listener.take()
                if notification is None:
                    return
                self._notify(notification)
                await self.client.flush()

    def _notify(self, notification: Notification) -> None:
        self.connection.notification(notification.process_id, notification.channel, notification.payload)

    def active(self, text: str) -> None:
        now_ns = self.clock.now_ns()
        self.activity.change("active", now_ns)
        self.activity.query = text[:ACTIVITY_CHARACTERS]
        self.activity.query_started_ns = now_ns

    def start_timer(self) -> Timer:
        """statement_timeout, by a timer: it cancels what runs."""
        core = self.core
        seconds = core.statement_timeout_s
        if not seconds:
            core.deadline = None
            return _NO_TIMER
        core.deadline = time.monotonic() + seconds
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, core.cancellation.cancel, "canceling statement due to statement timeout")

    def report(self) -> None:
        """ParameterStatus for every reported setting that the client does not know yet."""
        variables = self.core.variables
        if variables.generation == self._reported_generation:
            return
        self._reported_generation = variables.generation
        for name, value in variables.reported:
            if self._reported.get(name) != value:
                self._reported[name] = value
                if name == "client_encoding":
                    self.connection.codec = self.core.codec
                self.connection.parameter_status(name, value)


def stream_of(core: Core, source: RowSource, code: int = TEXT_FORMAT) -> RowStream:
    """Rows for a client that said nothing about formats."""
    return RowStream(source, (code,) * len(source.rowset.columns), core)


def _forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error and of what caused it.

    Futures that frames in them know hold the error, so all of it, and the view and rows of the statement, would wait
    for the collector of cycles: on an idle server a moment of the data was held for minutes.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
