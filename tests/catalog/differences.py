"""Statements of clients whose rows are not PostgreSQL's, by the reason. docs/sql.md explains each ("The system
catalog"); ``test_statements`` fails when one of them is equal after all, or another one is not."""

from __future__ import annotations

REASONS: dict[str, tuple[int, ...]] = {
    # Bytes on disk are other ones.
    "sizes": (1, 21, 26, 39),
    "toast": (22,),
    "temporary-schemas": (35, 210),
    "machine": (72, 203, 214),
    "version": (388,),
    "time-not-null": (427,),
    "own-functions": (40, 41, 43),
    "own-schema": (33, 34, 46, 47, 200, 205, 212, 213, 215, 216, 217, 218, 397, 877, 878, 880, 883),
}
