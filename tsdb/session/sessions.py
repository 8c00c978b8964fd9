"""The sessions of this process: who is connected, to which database, doing what. Feeds pg_stat_activity."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tsdb.model.hints import Hint
from tsdb.model.roles import FIRST
from tsdb.model.store import VacuumProgress
from tsdb.session.continuous import Refreshes
from tsdb.session.notifications import Channels
from tsdb.wire.contract import Encryption

FIRST_NUMBER = 1 << 30


@dataclass
class Activity:
    """One session. Times are ns since 1970 UTC, None for not now; ``state`` as in pg_stat_activity; ``wait_event`` its
    type and name, while something is running and waits; ``vacuum`` how far a VACUUM is.

    ``cancel`` and ``terminate`` may be called from any thread.
    """

    process_id: int
    user: str
    database: str
    address: str
    started_ns: int
    application_name: Callable[[], str]
    cancel: Callable[[], None]
    terminate: Callable[[], None]
    transaction_started_us: Callable[[], int]
    state: str = "idle"
    state_changed_ns: int = 0
    query: str = ""
    query_started_ns: int | None = None
    role: int = FIRST
    wait_event: tuple[str, str] | None = None
    server_address: str = ""
    encryption: Encryption | None = None
    vacuum: VacuumProgress | None = None

    def change(self, state: str, now_ns: int) -> None:
        self.state = state
        self.state_changed_ns = now_ns


class Sessions:
    """Owned by the event loop; other threads read through ``listing``, ``find`` and ``count``."""

    def __init__(self) -> None:
        self._by_process_id: dict[int, Activity] = {}
        self._numbers = itertools.count(FIRST_NUMBER)
        self.channels = Channels()
        self.refreshes = Refreshes()
        # What pg_reload_conf() does; any thread may call it.
        self.reload: Callable[[], None] = lambda: None
        # Batches that wait at this node, and those of them that were refused; any thread may call it.
        self.hints: Callable[[], Sequence[Hint]] = list

    def next_number(self) -> int:
        """A process id for a session that has none from the SQL port, which counts from 1."""
        return next(self._numbers)

    def add(self, activity: Activity) -> None:
        self._by_process_id[activity.process_id] = activity

    def remove(self, process_id: int) -> None:
        self._by_process_id.pop(process_id, None)

    def listing(self) -> list[Activity]:
        return list(self._by_process_id.values())

    def find(self, process_id: int) -> Activity | None:
        return self._by_process_id.get(process_id)

    def count(self, database: str, *, but: int = 0) -> int:
        """How many sessions use a database, other than ``but``."""
        return sum(1 for each in self.listing() if each.database == database and each.process_id != but)
