"""One bound on the memory of all results that are on their way to clients. Any thread may call; nothing here blocks.

A result has a *claim*. It enters before rows are pulled from DuckDB, holds what the batch really takes, and lets go of
it when the client has taken the batch; between the batches of a cursor it rests. What does not fit waits its turn:

    new ──enter──> active ──next batch──> active;  does not fit: waiting ──room──> active;  release ends it

A batch is known in size only once it is there, so the bound can be overdrawn by what one pull in each thread brings;
then nothing is pulled until it is let go of. *Large* claims (beyond SMALL_BYTES) share half of the bound, first come
first served, and those whose result has begun before new ones: wide results are finished one after the other instead of
all being held at once. Small ones have the whole bound as far as large ones leave it, and half of it in any case: a
client that takes a wide result slowly does not hold up small queries.

No deadlock: of each size, one claim always enters when no other of it is active, and nobody who waits is active. A
client that takes nothing while others wait is cut after ``stall_s``: else a claim that is never let go of would hold
them up for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from tsdb.errors import OutOfMemory

logger = logging.getLogger(__name__)

MIB = 1 << 20
SMALL_BYTES = 2 * MIB
# What a running result takes besides its batch: DuckDB's own buffer, images of columns, what the socket has not taken.
BASE_BYTES = MIB
RESTING_BYTES = MIB // 4
# Looking for clients that stall costs a call for each.
_LOOK_S = 0.2


class Owner(Protocol):
    """The client of a claim."""

    def stalled_s(self) -> float:
        """How long it has taken nothing of what was sent, as far as anybody looked; 0 if nothing is sent."""
        ...

    def disconnect(self) -> None: ...


class State(Enum):
    OUT = auto()
    WAITING = auto()
    ACTIVE = auto()
    RESTING = auto()


class Crowded(Exception):
    """Raised before anything was done: it may be done again when the claim has entered. Never reaches a client."""

    def __init__(self, claim: Claim) -> None:
        super().__init__("no memory for this result now")
        self.claim = claim


class Claim:
    """What one result holds of the budget."""

    def __init__(self, budget: Budget, owner: Owner | None) -> None:
        self.owner = owner
        self.state = State.OUT
        self.bytes = 0
        self.wanted = 0
        # Whether it ever entered; whether it has entered and nothing was pulled since.
        self.begun = False
        self.unused = False
        self.ready: Callable[[], object] | None = None
        self._budget = budget

    @property
    def large(self) -> bool:
        return (self.wanted if self.state is State.WAITING else self.bytes) > SMALL_BYTES

    def first_bytes(self, *, widens: bool, reads_texts: bool) -> int:
        """What a result claims before its first batch: much where its rows may be so wide that nobody can tell, so that
        two of those begin at a time, or eight that read texts which are stored."""
        share = 4 if widens else 16
        return max(SMALL_BYTES, self._budget.limit_bytes // share) if widens or reads_texts else SMALL_BYTES

    @property
    def most_bytes(self) -> int:
        """What one result may hold as a whole."""
        return self._budget.limit_bytes // 2

    @property
    def entered(self) -> bool:
        return self.state is State.ACTIVE

    def enter(self, wanted: int) -> bool:
        """Let go of what was held and take ``wanted``. False: there is no room, and nothing is held."""
        return self._budget.enter(self, wanted)

    def wait(self, ready: Callable[[], object]) -> None:
        """After ``enter`` was refused: ``ready`` is called, in any thread, once it has entered."""
        self._budget.wait(self, ready)

    def hold(self, batch_bytes: int) -> int:
        """The batch is there: what it takes, with its encoded form. Returns the bytes held."""
        return self._budget.hold(self, BASE_BYTES + 2 * batch_bytes)

    def rest(self, left_bytes: int) -> None:
        """The client has what it asked for, and may ask for more; of the last batch so much is left."""
        self._budget.rest(self, RESTING_BYTES + left_bytes)

    def release(self) -> None:
        """The end, also of waiting. May be called again."""
        self._budget.release(self)

    leave = release


class Budget:
    """``limit_bytes`` over all claims; ``stall_s`` is what a client may stall while others wait."""

    def __init__(self, limit_bytes: int = 256 * MIB, stall_s: float = 60.0) -> None:
        self.limit_bytes = limit_bytes
        self.stall_s = stall_s
        self._lock = threading.Lock()
        self._claims: set[Claim] = set()
        self._waiting: list[Claim] = []
        self._looked = 0.0

    def claim(self, owner: Owner | None = None) -> Claim:
        return Claim(self, owner)

    @property
    def held_bytes(self) -> int:
        with self._lock:
            return self._held()

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def check_cursors(self) -> None:
        """Before a result that its client will read in parts. Raises OutOfMemory when such ones hold too much."""
        with self._lock:
            resting = sum(claim.bytes for claim in self._claims if claim.state is State.RESTING)
        if resting + SMALL_BYTES > self.limit_bytes // 4:
            raise OutOfMemory(
                f"open cursors of all sessions hold {resting >> 20} MiB of results that nobody fetches",
                hint="Close cursors that are not needed, or raise result_memory.",
            )

    # --- for claims ---

    def enter(self, claim: Claim, wanted: int) -> bool:
        with self._lock:
            if claim.state is State.ACTIVE and claim.unused and wanted <= claim.bytes:
                return True
            self._drop(claim)
            claim.wanted = wanted
            large = wanted > SMALL_BYTES
            if not any(each.large == large and self._before(each, claim) for each in self._waiting) and self._fits(
                wanted
            ):
                self._admit(claim)
                return True
        self._turn()
        return False

    def wait(self, claim: Claim, ready: Callable[[], object]) -> None:
        with self._lock:
            claim.state, claim.ready = State.WAITING, ready
            self._waiting.append(claim)
        self._turn()

    def hold(self, claim: Claim, held: int) -> int:
        with self._lock:
            claim.bytes, claim.unused = held, False
        self._turn()
        return held

    def rest(self, claim: Claim, held: int) -> None:
        with self._lock:
            if claim in self._claims:
                claim.state, claim.bytes = State.RESTING, held
        self._turn()

    def release(self, claim: Claim) -> None:
        with self._lock:
            self._drop(claim)
        self._turn()

    def cut_stalled(self) -> None:
        """On the event loop, while somebody waits: cut the client that has stalled longest, if that is too long."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < _LOOK_S:
                return
            self._looked = now
            owners = {id(claim.owner): claim.owner for claim in self._claims if claim.owner is not None}
        stalled = [(owner.stalled_s(), key) for key, owner in owners.items()]
        longest, key = max(stalled, default=(0.0, 0))
        if longest >= self.stall_s and longest > 0:
            owner = owners[key]
            logger.warning(
                "a client is disconnected: it took nothing of its result for %.0f s while others waited", longest
            )
            owner.disconnect()

    # --- with the lock ---

    def _held(self) -> int:
        return sum(claim.bytes for claim in self._claims)

    def _before(self, waiting: Claim, claim: Claim) -> bool:
        return waiting.begun or not claim.begun

    def _drop(self, claim: Claim) -> None:
        self._claims.discard(claim)
        if claim.state is State.WAITING:
            self._waiting.remove(claim)
        claim.state, claim.bytes, claim.ready = State.OUT, 0, None

    def _admit(self, claim: Claim) -> None:
        claim.state, claim.bytes, claim.begun, claim.unused = State.ACTIVE, claim.wanted, True, True
        self._claims.add(claim)

    def _fits(self, wanted: int) -> bool:
        large = wanted > SMALL_BYTES
        if not any(each.state is State.ACTIVE and each.large == large for each in self._claims):
            return True
        half = self.limit_bytes // 2
        all_large = sum(each.bytes for each in self._claims if each.large)
        all_small = sum(each.bytes for each in self._claims if not each.large)
        if large:
            return all_large + wanted <= half and all_large + all_small + wanted <= self.limit_bytes
        kept = half if any(each.large for each in self._waiting) else min(all_large, half)
        return all_small + kept + wanted <= self.limit_bytes

    def _turn(self) -> None:
        """Let in whoever fits now, in order: of each size the first that does not fit holds up those after it."""
        admitted: list[Callable[[], object]] = []
        with self._lock:
            if not self._waiting:
                return
            full: set[bool] = set()
            for claim in sorted(self._waiting, key=lambda each: not each.begun):
                if claim.large in full or not self._fits(claim.wanted):
                    full.add(claim.large)
                    continue
                self._waiting.remove(claim)
                ready = claim.ready
                self._admit(claim)
                if ready is not None:
                    admitted.append(ready)
        for ready in admitted:
            ready()
