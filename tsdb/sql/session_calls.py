"""Functions with effects on sessions: set_config(), pg_notify(), pg_cancel_backend(), advisory locks.

DuckDB calls one function of ours, row by row in effect, with the session's process id, the function's name and its
arguments as texts; the session does the rest (``Context.session``). What it raises reaches the client as raised.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import duckdb
import pyarrow as pa

from tsdb.errors import FeatureNotSupported, TsdbError
from tsdb.sql import sequence_calls
from tsdb.sql.context import SessionAccess

FUNCTION = "session_call"
CHANCE = "session_random"


class SessionCalls:
    """One for each DuckDB instance. A session is known by its process id from its first query on."""

    def __init__(self) -> None:
        self._sessions: WeakValueDictionary[int, SessionAccess] = WeakValueDictionary()

    def register(self, process_id: int, session: SessionAccess | None) -> None:
        if session is not None:
            self._sessions[process_id] = session

    def install(self, connection: duckdb.DuckDBPyConnection) -> None:
        def over(process_ids: Any, names: Any, arguments: Any) -> pa.Array:
            rows = zip(process_ids.to_pylist(), names.to_pylist(), arguments.to_pylist(), strict=True)
            return pa.array([self._call(*row) for row in rows], pa.string())

        def random(process_ids: Any) -> pa.Array:
            count = len(process_ids)
            if not count:
                return pa.array([], pa.float64())
            return pa.array(self._session(process_ids[0].as_py(), "random").chance.next(count))

        connection.create_function(  # type: ignore[call-overload]
            CHANCE, random, ["BIGINT"], "DOUBLE", type="arrow", null_handling="special", side_effects=True
        )
        sequence_calls.install(connection, lambda process_id: self._session(process_id, "nextval").sequences)
        connection.create_function(  # type: ignore[call-overload]
            FUNCTION,
            over,
            ["BIGINT", "VARCHAR", "VARCHAR[]"],
            "VARCHAR",
            type="arrow",
            null_handling="special",
            side_effects=True,
        )

    def _call(self, process_id: int, name: str, arguments: list[str | None]) -> str | None:
        try:
            return self._session(process_id, name).call(name, arguments)
        except TsdbError as error:
            # DuckDB hands on nothing but the text.
            raise ValueError(f"{error.sqlstate}:{error.message}") from None

    def _session(self, process_id: int, function: str) -> SessionAccess:
        session = self._sessions.get(process_id)
        if session is None:
            raise FeatureNotSupported(f"{function}() needs a session")
        return session
