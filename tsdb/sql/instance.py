"""The one in-memory DuckDB instance, its settings and its cursors. The only module that opens DuckDB.

Nothing outside the process is reachable: no files, no network, no extensions, no Python variables. A cursor serves one
query at a time; idle cursors are kept, since opening one and setting its time zone takes 0.1 ms.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from tsdb import prompt
from tsdb.sql import sequence_calls
from tsdb.sql.catalog.calls import Calls
from tsdb.sql.computed import registry
from tsdb.sql.macros import MACROS
from tsdb.sql.session_calls import CHANCE, FUNCTION, SessionCalls

MAX_IDLE_CURSORS = 16
# What a cursor sets for itself.
_CURSOR_SETTINGS = ("timezone", "streaming_buffer_size")
MAX_IDLE_TABLES = 64
STREAM_BUFFER_BYTES = 512 << 10


class Stream(Protocol):
    """What DuckDB reads: Arrow's PyCapsule interface."""

    @property
    def schema(self) -> pa.Schema: ...

    def __arrow_c_schema__(self) -> Any: ...

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


class _Table:
    """A registered name whose content changes from query to query, its schema never."""

    def __init__(self, content: Stream) -> None:
        self.schema: pa.Schema = content.schema
        self.content: Stream | None = content

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        assert self.content is not None
        return self.content.__arrow_c_stream__(requested_schema)


class Cursor:
    """A connection of one query; ``zone`` is its session's time zone. Its tables stay registered, empty, for the next
    query: registering one and taking it back costs as much as a small query (0.5 ms)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.zone = ""
        self._tables: dict[str, _Table] = {}
        # Rows that DuckDB computes ahead of a client, for each open result: 10 MiB by itself, times connections.
        connection.execute(f"SET streaming_buffer_size = '{STREAM_BUFFER_BYTES // 1024}KiB'")

    def show(self, name: str, content: Stream) -> None:
        """Make a stream readable as a table until ``clear``."""
        table = self._tables.get(name)
        if table is not None and table.schema == content.schema:
            table.content = content
            return
        table = _Table(content)
        self.connection.register(name, table)
        self._tables[name] = table

    def clear(self) -> None:
        """Let go of what was shown, and of all but a few names."""
        for table in self._tables.values():
            table.content = None
        while len(self._tables) > MAX_IDLE_TABLES:
            name, _ = self._tables.popitem()
            self.connection.unregister(name)

    def set_zone(self, zone: str) -> None:
        if zone != self.zone:
            # The name was checked by zoneinfo; a quote in it would not have passed.
            self.connection.execute(f"SET TimeZone = '{zone.replace(chr(39), '')}'")
            self.zone = zone


class Instance:
    """Thread-safe. ``close`` interrupts what runs."""

    def __init__(self, memory_limit_bytes: int, threads: int, spill_directory: Path | None) -> None:
        config: dict[str, Any] = {
            "python_enable_replacements": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{max(memory_limit_bytes, 64 << 20) // 1024}KiB",
            "threads": threads,
            "temp_directory": str(spill_directory) if spill_directory is not None else "",
            "arrow_large_buffer_size": "false",
            "preserve_insertion_order": "true",
        }
        self._connection = duckdb.connect(":memory:", config=config)
        registry.install(self._connection)
        for macro in MACROS:
            self._connection.execute(f"CREATE MACRO {macro}")
        self.calls = SessionCalls()
        self.calls.install(self._connection)
        self.catalog_calls = Calls(self._connection.create_function, self._connection.remove_function)
        self._connection.execute("SET enable_external_access = false")
        # Not even our own text can change anything else from here on, least of all this.
        self._connection.execute(f"SET allowed_configs = {list(_CURSOR_SETTINGS)}")
        self._connection.execute("SET lock_configuration = true")
        self._idle: list[Cursor] = []
        self._lock = threading.Lock()
        self._closed = False

    def take(self, zone: str) -> Cursor:
        prompt.may_wait()
        with self._lock:
            cursor = self._idle.pop() if self._idle else None
        if cursor is None:
            cursor = Cursor(self._connection.cursor())
        cursor.set_zone(zone)
        return cursor

    def give_back(self, cursor: Cursor) -> None:
        with self._lock:
            if len(self._idle) < MAX_IDLE_CURSORS and not self._closed:
                self._idle.append(cursor)
                return
        cursor.connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for cursor in idle:
            cursor.connection.close()
        registry.remove(self._connection)
        self._connection.remove_function(FUNCTION)
        self._connection.remove_function(CHANCE)
        self._connection.remove_function(sequence_calls.FUNCTION)
        self.catalog_calls.close()
        self._connection.close()
