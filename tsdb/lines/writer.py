"""Bodies into the store: as whom, what is tried again, and what has been counted."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from tsdb.clock import Clock
from tsdb.errors import InsufficientPrivilege
from tsdb.ingest.faults import Limits
from tsdb.ingest.outcome import Outcome, outcome_text, status_of
from tsdb.ingest.write import Submitted, WriteRequest, submit
from tsdb.model.access import Access
from tsdb.model.roles import FIRST
from tsdb.model.store import Store

log = logging.getLogger(__name__)

# What passes (a full head, a full disk) is tried again after so long.
RETRY_SECONDS = 0.5
# Refused lines are logged once in so many seconds for each listener; all are counted.
LOG_SECONDS = 10.0
_LOGGED_CHARACTERS = 500


@dataclass(slots=True)
class Counts:
    """What a listener has done since it started."""

    points: int = 0
    rejected: int = 0
    waits: int = 0
    datagrams: int = 0
    dropped: int = 0
    fell_short: int = 0
    unlogged: int = 0
    logged_at: float = -LOG_SECONDS


@dataclass(frozen=True, slots=True)
class LineOptions:
    """``database`` is the one of lines that name none; ``role`` whose privileges clients have that would have to show
    a password elsewhere ("": they are not served). ``acks``: on how many replicas lines are to be that say nothing of
    it themselves (None: as their series say)."""

    database: str = "tsdb"
    role: str = ""
    create_database: bool = True
    body_bytes_max: int = 64 << 20
    limits: Limits = field(default_factory=Limits)
    acks: int | None = None

    @property
    def request(self) -> WriteRequest:
        """What lines are written as that say nothing of it themselves."""
        return WriteRequest(self.database, acks=self.acks)


class LineWriter:
    """One for each listener; used on the event loop, works in ``pool``."""

    def __init__(
        self, store: Store, clock: Clock, pool: ThreadPoolExecutor, rules: Access, options: LineOptions, name: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._pool = pool
        self._rules = rules
        self._name = name
        self.options = options
        self.counts = Counts()

    def role_of(self, host: str) -> int:
        """The role that a client at an address writes as. Raises InsufficientPrivilege."""
        if self._rules.policy.trusts(host):
            return FIRST
        named = self._store.catalog.roles.by_name.get(self.options.role) if self.options.role else None
        if named is None:
            raise InsufficientPrivilege(f"{self._name} has no passwords and {host} would need one: set line_role")
        return named.number

    async def write(self, body: bytes | bytearray, request: WriteRequest, role: int) -> Outcome:
        """Store a body; it is durable when this returns. Raises what is wrong with it as a whole."""
        options = self.options

        def work() -> Submitted:
            now_ns = self._clock.now_ns()
            return submit(self._store, request, body, now_ns, options.limits, options.create_database, role)

        done = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        written = await asyncio.gather(*(asyncio.wrap_future(future) for future in done.futures))
        self.counts.points += done.outcome.written
        self.counts.rejected += done.outcome.dropped
        fell_short = any(each.fell_short for each in written)
        self.counts.fell_short += fell_short
        return replace(done.outcome, fell_short=fell_short)

    async def write_patiently(self, body: bytearray, request: WriteRequest, role: int, host: str) -> None:
        """Store lines that nobody waits for an answer to: what passes is waited for, what is wrong logged and counted.

        Raises what is wrong with all of them.
        """
        while True:
            try:
                outcome = await self.write(body, request, role)
            except Exception as error:
                if status_of(error) != 503:
                    self.counts.rejected += body.count(b"\n")
                    self.tell(host, str(error))
                    raise
                self.counts.waits += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if outcome.dropped:
                self.tell(host, outcome_text(outcome, partial=True))
            return

    def tell(self, host: str, why: str) -> None:
        """Log what was refused: now, or together with what follows."""
        counts, now = self.counts, asyncio.get_running_loop().time()
        counts.unlogged += 1
        if now - counts.logged_at < LOG_SECONDS:
            return
        fields = {"client": host, "why": why[:_LOGGED_CHARACTERS], "times": counts.unlogged}
        log.warning("lines refused over %s", self._name, extra={"fields": fields})
        counts.unlogged, counts.logged_at = 0, now
