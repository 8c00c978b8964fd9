"""One session's state, and the commands that change it: settings, transactions, prepared statements, cursors.

The core owns no socket and no thread. What blocks is handed to ``work``, which the session runs in its pool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tsdb import encodings
from tsdb.clock import Clock
from tsdb.errors import (
    ActiveSqlTransaction,
    NoActiveSqlTransaction,
    ReadOnlySqlTransaction,
    TsdbError,
)
from tsdb.model.access import Identity
from tsdb.model.store import Store
from tsdb.session.budget import Budget, Owner
from tsdb.session.cancellation import Cancellation
from tsdb.session.execution import Execution
from tsdb.session.freshness import Reads, Writes
from tsdb.session.functions import SessionFunctions
from tsdb.session.identity import SessionIdentity
from tsdb.session.notifications import Listener, Messages
from tsdb.session.numbering import Numbering
from tsdb.session.planning import Plan
from tsdb.session.portals import Names, Portal
from tsdb.session.sequences import SequenceValues
from tsdb.session.sessions import Sessions
from tsdb.session.transaction import Limits, State, Transaction
from tsdb.session.turns import Turn
from tsdb.session.utility import Commit, ReleaseSavepoint, Rollback, RollbackTo
from tsdb.session.variables import OF_TRANSACTION, Variables
from tsdb.sql import settings
from tsdb.sql.context import Context, SettingValues
from tsdb.sql.notice import Notice
from tsdb.sql.query import Queries
from tsdb.sql.settings.setting import milliseconds
from tsdb.sql.statement import Ddl, Truncate

T = TypeVar("T")
Work = Callable[[Callable[[], T]], Awaitable[T]]

_REPEATABLE = ("repeatable read", "serializable")
_LEVELS = {"NOTICE": 1, "WARNING": 2}
_LEAST = {"notice": 1, "warning": 2, "error": 3}
# What a transaction block does not contain, since it cannot be undone with it (manual, CREATE DATABASE).
_ALONE = ("database",)


class Core:
    """``work`` runs a blocking function in the session's pool."""

    def __init__(
        self,
        store: Store,
        queries: Queries,
        clock: Clock,
        *,
        identity: Identity,
        database: str,
        process_id: int,
        release: Callable[[Portal], None],
        budget: Budget,
        owner: Owner,
        turn: Turn,
        sessions: Sessions,
        wake: Callable[[], None],
        limits: Limits | None = None,
    ) -> None:
        self.database = database
        self.process_id = process_id
        self.variables = Variables()
        self.identity = SessionIdentity(identity, self.variables, lambda: store.catalog.roles)
        self.limits = limits or Limits()
        self.transaction = Transaction(self.limits.pending_bytes_max)
        self.names = Names(release)
        self.notices: list[Notice] = []
        self.check_cursors = budget.check_cursors
        self.numbering = Numbering(self.variables, self.notices.append)
        reads = Reads(self.variables)
        self.execution = Execution(
            store,
            queries,
            self.transaction,
            database,
            self.notices.append,
            lambda name: sessions.count(name, but=process_id),
            lambda: budget.claim(owner),
            turn,
            lambda: self.variables.get("transaction_isolation") in _REPEATABLE,
            sessions.refreshes,
            self.numbering,
            reads,
            Writes(self.variables, reads.seen),
        )
        self.messages = Messages(process_id, database, sessions.channels, Listener(database, wake))
        self.sequences = SequenceValues(self, store)
        self.functions = SessionFunctions(self, sessions)
        self._measure = store.statistics
        self.clock = clock
        self.cancellation = Cancellation()
        self.deadline: float | None = None
        self._portals: list[frozenset[str]] = []
        self._settings: tuple[int, SettingValues] = (-1, SettingValues())
        self._context: Context | None = None

    def begin_with(self, role: int, database: str) -> None:
        """What ALTER ROLE and ALTER DATABASE have set; what is no value any more is left out, with a WARNING."""
        catalog = self.execution.catalog
        for each in catalog.roles.settings_at_login(catalog.find(database).number, role):
            source = "database user" if each.database and each.role else "user" if each.role else "database"
            try:
                self.variables.set_start(each.name, each.value, source if each.database or each.role else "global")
            except TsdbError as error:
                self.warn(error)

    # --- what statements need to know ---

    def context(self) -> Context:
        now_us = self.transaction.started_us or self.now_us()
        self.sequences.begin()
        values, kept = self._values(), self._context
        if kept is not None and kept.settings is values:
            return kept.again(now_us, self.deadline, self.cancellation.watch)
        current, session = self.identity.current, self.identity.session
        made = Context(
            self.database,
            now_us,
            current.name,
            values,
            self.deadline,
            self.process_id,
            self.cancellation.watch,
            session_user=session.name,
            role=current.role,
            session=self.functions,
            statistics=self._measure,
        )
        # Who logged in stays what it is; what number another role's name has may change.
        login = self.identity.login
        self._context = made if current is login and session is login else None
        return made

    def now_us(self) -> int:
        return self.clock.now_ns() // 1000

    def _values(self) -> SettingValues:
        if self._settings[0] != self.variables.generation:
            values = SettingValues(self.variables.values)
            values["timezone"] = settings.iana_name(values["timezone"])
            self._settings = (self.variables.generation, values)
        return self._settings[1]

    @property
    def timezone(self) -> str:
        return self.variables.get("TimeZone")

    @property
    def codec(self) -> str:
        """Python's name of the client's encoding."""
        return encodings.codec_of(self.variables.get("client_encoding"))

    @property
    def statement_timeout_s(self) -> float:
        return milliseconds(self.variables.get("statement_timeout")) / 1000

    def take_notices(self) -> list[Notice]:
        """The notices that client_min_messages lets pass."""
        least = _LEAST.get(self.variables.get("client_min_messages"), 0)
        taken = [notice for notice in self.notices if _LEVELS[notice.severity] >= least]
        self.notices.clear()
        return taken

    # --- before and after each statement ---

    def start(self, plan: Plan | None = None) -> None:
        """Before a statement: the implicit transaction begins; a failed block refuses all but its end."""
        if plan is None or not isinstance(plan.command, Commit | Rollback | RollbackTo):
            self.transaction.check()
        if self.transaction.start(self.now_us()):
            self.variables.begin()

    def check_allowed(self, plan: Plan) -> None:
        """What a read-only transaction and a block refuse, and what a block cannot undo."""
        writes = plan.modification is not None or isinstance(plan.statement, Ddl | Truncate)
        if writes and self.variables.get("transaction_read_only") == "on":
            verb = plan.statement.fragment.tokens[0].value.upper()
            raise ReadOnlySqlTransaction(f"cannot execute {verb} in a read-only transaction")
        if isinstance(plan.statement, Ddl) and self.transaction.state is State.BLOCK:
            tokens = plan.statement.tokens
            if len(tokens) > 1 and tokens[1].is_word(*_ALONE):
                words = f"{tokens[0].value} {tokens[1].value}".upper()
                raise ActiveSqlTransaction(f"{words} cannot run inside a transaction block")
            self.warn(
                ActiveSqlTransaction(
                    "changes of the schema take effect at once and are not undone by ROLLBACK",
                )
            )

    def warn(self, condition: TsdbError) -> None:
        self.notices.append(Notice(condition, "WARNING"))

    def fail(self) -> None:
        """After an error."""
        self.execution.forget_claim()
        self.transaction.fail()
        if self.transaction.state is State.IDLE:
            self._ended(committed=False)

    async def finish_implicit(self, work: Work[None]) -> None:
        """At the end of a message, or at Sync: commit what is not in a block. Raises what writing raises."""
        if self.transaction.state is State.IMPLICIT:
            await self._write(work)
            self.transaction.end()
            self._ended(committed=True)
            await self._end_temporary(work)

    async def _write(self, work: Work[None]) -> None:
        self.messages.check_room()
        if not self.transaction.pending:
            return
        await work(self.execution.writing.commit)

    async def _end_temporary(self, work: Work[None]) -> None:
        """ON COMMIT of temporary tables; DROP comes with any end, since their making is not undone."""
        if self.execution.temporary.waiting:
            await work(lambda: self.execution.temporary.end(self.database))

    def _ended(self, *, committed: bool) -> None:
        self.execution.writing.release()
        self.numbering.end(committed=committed)
        self.variables.end(committed=committed)
        self.messages.end(committed=committed)
        self.names.end_transaction(committed=committed)
        self._portals.clear()

    # --- transactions ---

    def begin(self, modes: tuple[tuple[str, str], ...]) -> None:
        if not self.transaction.begin(self.now_us()):
            self.warn(ActiveSqlTransaction("there is already a transaction in progress"))
            return
        self.variables.begin()
        for name, value in modes:
            self.variables.set(name, value, local=True)

    async def commit(self, work: Work[None], *, chain: bool) -> str:
        if self.transaction.state is State.FAILED:
            return await self.rollback(work, chain=chain)
        in_block = self.transaction.state is State.BLOCK
        self._check_chain(in_block, chain, "COMMIT")
        if not in_block:
            self.warn(NoActiveSqlTransaction("there is no transaction in progress"))
        modes = self._modes()
        try:
            await self._write(work)
        except BaseException:
            self.transaction.end()
            self._ended(committed=False)
            raise
        self.transaction.end()
        self._ended(committed=True)
        await self._end_temporary(work)
        if chain:
            self.begin(modes)
        return "COMMIT"

    async def rollback(self, work: Work[None], *, chain: bool) -> str:
        in_block = self.transaction.in_block
        self._check_chain(in_block, chain, "ROLLBACK")
        if not in_block:
            self.warn(NoActiveSqlTransaction("there is no transaction in progress"))
        modes = self._modes()
        self.transaction.end()
        self._ended(committed=False)
        await self._end_temporary(work)
        if chain:
            self.begin(modes)
        return "ROLLBACK"

    def _modes(self) -> tuple[tuple[str, str], ...]:
        """What a chained transaction takes over (manual, COMMIT)."""
        return tuple((name, self.variables.get(name)) for name in OF_TRANSACTION)

    def check_mode(self, name: str, value: str | None) -> None:
        """Some of a transaction's modes are to be said before its first query."""
        if not self.transaction.queried or self.transaction.state is not State.BLOCK:
            return
        if name == "transaction_isolation" and value != self.variables.get(name):
            raise ActiveSqlTransaction("SET TRANSACTION ISOLATION LEVEL must be called before any query")
        if name == "transaction_read_only" and value == "off" and self.variables.get(name) == "on":
            raise ActiveSqlTransaction("transaction read-write mode must be set before any query")

    def _check_chain(self, in_block: bool, chain: bool, verb: str) -> None:
        if chain and not in_block:
            raise NoActiveSqlTransaction(f"{verb} AND CHAIN can only be used in transaction blocks")

    def savepoint(self, name: str) -> None:
        self.transaction.savepoint(name)
        self.variables.savepoint()
        self.messages.savepoint()
        self._portals.append(self.names.savepoint())

    def release(self, command: ReleaseSavepoint) -> None:
        depth = self.transaction.release(command.name)
        self.variables.release(depth)
        self.messages.release(depth)
        del self._portals[depth - 1 :]

    def rollback_to(self, command: RollbackTo) -> None:
        depth = self.transaction.rollback_to(command.name)
        self.variables.rollback_to(depth)
        self.messages.rollback_to(depth)
        self.names.rollback_to(self._portals[depth - 1])
        del self._portals[depth:]

    def discard(self, what: str) -> None:
        if what == "sequences":
            self.sequences.forget()
        if what != "all":
            return
        if self.transaction.in_block:
            raise ActiveSqlTransaction("DISCARD ALL cannot run inside a transaction block")
        self.names.clear()
        self.identity.set_session(None, local=False)
        self.variables.reset_all()
        self.messages.unlisten(None)
        self.sequences.forget()

    def check_block(self, what: str, block: bool | None) -> None:
        """Refuse a statement that needs a transaction block, or cannot be in one."""
        if block and not self.transaction.in_block:
            raise NoActiveSqlTransaction(f"{what} can only be used in transaction blocks")
        if block is False and self.transaction.in_block:
            raise ActiveSqlTransaction(f"{what} cannot run inside a transaction block")
