"""What SQL functions do to sessions, and relations about sessions: ``tsdb.sql.context.SessionAccess`` for one session.

Advisory locks are no-ops: every lock is granted at once, since no statement here waits for another.

Source: PostgreSQL 15 manual, 9.27.1 (configuration), 9.27.2 (signalling), 9.27.10 (advisory locks), 28.2.3, 54.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tsdb.errors import InsufficientPrivilege, InvalidParameterValue, NullValueNotAllowed, TsdbError, UndefinedObject
from tsdb.model.cluster import ClusterLocation, ClusterMember, ReplicaDifference
from tsdb.model.hints import Hint
from tsdb.model.roles import FIRST, READ_ALL_SETTINGS, READ_ALL_STATS, SIGNAL_BACKEND, Roles
from tsdb.model.schema import Series
from tsdb.model.store import Block, Compaction, RevertedOp
from tsdb.session.sessions import Activity, Sessions
from tsdb.session.transaction import State
from tsdb.sql.catalog import oids
from tsdb.sql.chance import Chance
from tsdb.sql.context import SequenceAccess
from tsdb.sql.continuous.state import ContinuousState
from tsdb.sql.notice import notice
from tsdb.sql.settings import SUPERUSERS_ONLY
from tsdb.types import TIMESTAMPTZ
from tsdb.wire.contract import Encryption

if TYPE_CHECKING:
    from tsdb.session.core import Core

_HIDDEN_QUERY = "<insufficient privilege>"


class SessionFunctions:
    """Implements ``SessionAccess``. Called while the session waits for its statement: nothing else changes it."""

    def __init__(self, core: Core, sessions: Sessions) -> None:
        self._core = core
        self._sessions = sessions
        self.chance = Chance()

    def call(self, function: str, arguments: Sequence[str | None]) -> str | None:
        if "advisory" in function:
            granted = "try" in function or function in ("pg_advisory_unlock", "pg_advisory_unlock_shared")
            return "true" if granted and None not in arguments else None if None in arguments else ""
        return _FUNCTIONS[function](self, arguments)

    @property
    def sequences(self) -> SequenceAccess:
        return self._core.sequences

    def blocks(self, series: Series) -> Sequence[Block]:
        return self._core.execution.blocks(series)

    def compactions(self) -> Sequence[Compaction]:
        return self._core.execution.compactions()

    def reverted(self) -> Sequence[RevertedOp]:
        return self._core.execution.reverted()

    def members(self) -> Sequence[ClusterMember]:
        return self._core.execution.members()

    def locations(self) -> Sequence[ClusterLocation]:
        return self._core.execution.locations()

    def replica_differences(self) -> Sequence[ReplicaDifference]:
        return self._core.execution.replica_differences()

    def hints(self) -> Sequence[Hint]:
        """Why one was refused may quote its lines: not everybody sees that."""
        me, roles = self._core.identity.current.role, self._roles
        return [
            each
            if roles.has_rights_of(me, each.role) or roles.has_rights_of(me, READ_ALL_STATS)
            else replace(each, refused=each.refused and _HIDDEN_QUERY, waits_for=each.waits_for and _HIDDEN_QUERY)
            for each in self._sessions.hints()
        ]

    def continuous(self, views: Sequence[Series]) -> dict[int, ContinuousState]:
        return self._core.execution.continuous(views)

    def rows(self, relation: str) -> list[tuple[Any, ...]]:
        return _RELATIONS[relation](self)

    # --- settings ---

    def _set_config(self, arguments: Sequence[str | None]) -> str:
        name, value, local = arguments
        if name is None:
            raise NullValueNotAllowed("SET requires parameter name")
        core = self._core
        is_local = local == "true" and core.transaction.state in (State.BLOCK, State.IMPLICIT)
        if name.lower() == "role":
            core.identity.set_role(None if value is None or value.lower() == "none" else value, local=is_local)
        elif name.lower() == "session_authorization":
            core.identity.set_session(None if value == "default" else value, local=is_local)
        elif value is None:
            core.variables.reset(name, local=is_local)
        else:
            core.variables.set(name, value, local=is_local)
        return core.variables.get(name)

    def _current_setting(self, arguments: Sequence[str | None]) -> str | None:
        name, missing_ok = arguments[0], len(arguments) > 1 and arguments[1] == "true"
        if name is None:
            return None
        try:
            return self._core.variables.get(name)
        except UndefinedObject:
            if missing_ok:
                return None
            raise

    def _notice(self, arguments: Sequence[str | None]) -> str:
        self._core.notices.append(notice(arguments[0] or ""))
        return ""

    def _confirm(self, arguments: Sequence[str | None]) -> str | None:
        (token,) = arguments
        return None if token is None else self._core.execution.confirm(token).value

    # --- other sessions ---

    def _notify(self, arguments: Sequence[str | None]) -> str:
        self._core.messages.notify(arguments[0] or "", arguments[1] or "")
        return ""

    def _listening(self, arguments: Sequence[str | None]) -> str:
        return "\x1f".join(sorted(self._core.messages.listener.channels))

    def _cancel(self, arguments: Sequence[str | None]) -> str | None:
        return self._signal(arguments, "canceled", lambda activity: activity.cancel())

    def _terminate(self, arguments: Sequence[str | None]) -> str | None:
        return self._signal(arguments, "terminated", lambda activity: activity.terminate())

    def _signal(self, arguments: Sequence[str | None], verb: str, do: Callable[[Activity], None]) -> str | None:
        if arguments[0] is None:
            return None
        process_id = int(arguments[0])
        activity = self._sessions.find(process_id)
        if activity is None:
            self._core.warn(_NoSuchProcess(f"PID {process_id} is not a PostgreSQL server process"))
            return "false"
        self._check_signal(activity, verb)
        do(activity)
        return "true"

    def _check_signal(self, activity: Activity, verb: str) -> None:
        """pg_signal_backend of signalfuncs.c: a superuser's session only by superusers, others by their members."""
        roles, me = self._roles, self._core.identity.current.role
        own, target = roles.by_number.get(me), roles.by_number.get(activity.role)
        if target is not None and target.superuser and (own is None or not own.superuser):
            what = "cancel superuser query" if verb == "canceled" else "terminate superuser process"
            raise InsufficientPrivilege(f"must be a superuser to {what}")
        if not (roles.has_rights_of(me, activity.role) or roles.has_rights_of(me, SIGNAL_BACKEND)):
            what = "query" if verb == "canceled" else "process"
            raise InsufficientPrivilege(
                f"must be a member of the role whose {what} is being {verb} or member of pg_signal_backend"
            )

    @property
    def _roles(self) -> Roles:
        return self._core.execution.catalog.roles

    def _may_see(self, activity: Activity) -> bool:
        me = self._core.identity.current.role
        return self._roles.has_rights_of(me, activity.role) or self._roles.has_rights_of(me, READ_ALL_STATS)

    # --- this connection, and the server ---

    @property
    def activity(self) -> Activity | None:
        return self._sessions.find(self._core.process_id)

    def _reload(self, arguments: Sequence[str | None]) -> str:
        if not self._roles.has_rights_of(self._core.identity.current.role, FIRST):
            raise InsufficientPrivilege("permission denied for function pg_reload_conf")
        self._sessions.reload()
        return "true"

    def _setseed(self, arguments: Sequence[str | None]) -> str | None:
        if arguments[0] is None:
            return None
        seed = float(arguments[0])
        if not -1 <= seed <= 1:
            raise InvalidParameterValue(f"setseed parameter {arguments[0]} is out of allowed range [-1,1]")
        self.chance.seed(seed)
        return ""

    # --- relations ---

    def _vacuums(self) -> list[tuple[Any, ...]]:
        """Blocks are ours; there are no indexes and no dead tuples to count."""
        databases = self._core.execution.catalog.databases
        found: list[tuple[Any, ...]] = []
        for each in self._sessions.listing():
            now, database = each.vacuum, databases.get(each.database)
            if now is not None and database is not None:
                row = (
                    oids.of(now.series), now.phase, now.blocks_total, now.blocks_read, now.blocks_done, 0, 0, 0,
                ) if self._may_see(each) else (None,) * 8  # fmt: skip
                found.append((each.process_id, oids.database(database.number), each.database, *row))
        return found

    def _activities(self) -> list[tuple[Any, ...]]:
        databases = {name: database.number + 16384 for name, database in self._core.execution.catalog.databases.items()}
        return [self._activity(each, databases) for each in self._sessions.listing()]

    def _activity(self, each: Activity, databases: dict[str, int]) -> tuple[Any, ...]:
        host, _, port = each.address.rpartition(":")
        waits_for = ("Client", "ClientRead") if each.state != "active" else each.wait_event or (None, None)
        visible = self._may_see(each)
        return (
            databases.get(each.database), each.database, each.process_id, None, each.role, each.user,
            each.application_name(), host or None, None, int(port) if port.isdigit() else -1,
            _instant(each.started_ns // 1000), _instant(each.transaction_started_us() or None),
            _instant(each.query_started_ns and each.query_started_ns // 1000),
            _instant(each.state_changed_ns // 1000 or None), *waits_for,
            each.state if visible else None, None, None, None, each.query if visible else _HIDDEN_QUERY,
            "client backend",
        )  # fmt: skip

    def _settings(self) -> list[tuple[Any, ...]]:
        all_seen = self._roles.has_rights_of(self._core.identity.current.role, READ_ALL_SETTINGS)
        return [row for row in self._core.variables.rows() if all_seen or row[0] not in SUPERUSERS_ONLY]

    def _encryptions(self) -> list[tuple[Any, ...]]:
        return [(each.process_id, *_encryption(each.encryption), None, None, None) for each in self._sessions.listing()]

    def _gss(self) -> list[tuple[Any, ...]]:
        return [(each.process_id, False, None, False) for each in self._sessions.listing()]

    def _cursors(self) -> list[tuple[Any, ...]]:
        return [
            (portal.name, portal.text, portal.hold, portal.binary, portal.scroll, _instant(portal.created_us))
            for portal in self._core.names.portals.values()
        ]

    def _prepared(self) -> list[tuple[Any, ...]]:
        found = []
        for each in self._core.names.statements.values():
            if each.name:
                types = [t.name for t in each.plan.parameters] if each.plan is not None else []
                found.append((each.name, each.text, _instant(each.created_us), types, each.from_sql, 0, 0))
        return found


class _NoSuchProcess(TsdbError):
    sqlstate = "01000"


def _encryption(tls: Encryption | None) -> tuple[Any, ...]:
    return (False, None, None, None) if tls is None else (True, tls.version, tls.cipher, tls.bits)


def _placed(functions: SessionFunctions, arguments: Sequence[str | None], *, side: str, place: int) -> str | None:
    """The address or the port of one end of the connection; NULL where there is none (a socket of the machine)."""
    activity = functions.activity
    if activity is None:
        return None
    found = (activity.address if side == "client" else activity.server_address).rpartition(":")
    return found[place] if found[2].isdigit() else None


_FUNCTIONS: dict[str, Callable[[SessionFunctions, Sequence[str | None]], str | None]] = {
    "set_config": SessionFunctions._set_config,
    "notice": SessionFunctions._notice,
    "current_setting": SessionFunctions._current_setting,
    "pg_notify": SessionFunctions._notify,
    "pg_listening_channels": SessionFunctions._listening,
    "pg_cancel_backend": SessionFunctions._cancel,
    "pg_terminate_backend": SessionFunctions._terminate,
    "pg_reload_conf": SessionFunctions._reload,
    "setseed": SessionFunctions._setseed,
    "confirm_write": SessionFunctions._confirm,
    **{
        f"inet_{side}_{part}": partial(_placed, side=side, place=place)
        for side in ("client", "server")
        for place, part in ((0, "addr"), (2, "port"))
    },
}
_RELATIONS: dict[str, Callable[[SessionFunctions], list[tuple[Any, ...]]]] = {
    "pg_stat_activity": SessionFunctions._activities,
    "pg_settings": SessionFunctions._settings,
    "pg_stat_progress_vacuum": SessionFunctions._vacuums,
    "pg_stat_ssl": SessionFunctions._encryptions,
    "pg_stat_gssapi": SessionFunctions._gss,
    "pg_cursors": SessionFunctions._cursors,
    "pg_prepared_statements": SessionFunctions._prepared,
}


def _instant(us: int | None) -> Any:
    return None if us is None else pa.scalar(us, TIMESTAMPTZ.arrow)
