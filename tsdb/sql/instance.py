"""The one in-memory DuckDB instance, its settings and its cursors. The only module that opens DuckDB.

Nothing outside the process is reachable: no files, no network, no extensions, no Python variables. A cursor serves one
query at a time; idle cursors are kept, since opening one and setting its time zone takes 0.1 ms.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import duckdb

from tsdb.sql.macros import MACROS

MAX_IDLE_CURSORS = 16


class Cursor:
    """A connection of one query; ``zone`` is its session's time zone."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.zone = ""

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
        for macro in MACROS:
            self._connection.execute(f"CREATE MACRO {macro}")
        self._connection.execute("SET enable_external_access = false")
        self._idle: list[Cursor] = []
        self._lock = threading.Lock()
        self._closed = False

    def take(self, zone: str) -> Cursor:
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
        self._connection.close()
