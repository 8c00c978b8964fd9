"""Names under which system relations are registered: one for each relation and list of columns, in all statements.

A cursor keeps what is registered under a name from statement to statement, as long as its columns stay the same;
registering costs 0.4 ms, and a client that describes a table reads thirty relations.
"""

from __future__ import annotations

import threading

from tsdb.sql.expressions.relation import Source

NAMES_MAX = 4096
_numbers: dict[tuple[int, tuple[str, ...]], int] = {}
_lock = threading.Lock()


def registered(sql: str, source: Source, columns: tuple[str, ...]) -> tuple[str, str]:
    """The name for a source, and the statement's text that reads it by that name."""
    reads = f"{source.name} AS "
    if not source.relation or sql.count(reads) != 1:
        # No system relation, or somebody's text looks like ours: nothing is changed.
        return source.name, sql
    with _lock:
        known = len(_numbers)
        number = _numbers.get((source.relation, columns))
        if number is None and known < NAMES_MAX:
            number = _numbers[source.relation, columns] = known
    if number is None:
        return source.name, sql
    name = f"k{number}"
    return name, sql.replace(reads, f"{name} AS ")
