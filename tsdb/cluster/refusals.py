"""How a database is refused of which too few replicas answer."""

from __future__ import annotations

from tsdb.errors import CannotConnectNow

TRY_AGAIN = (
    "Try again: another replica may be about to take over. More than half of a database's replicas must run and reach "
    "each other; tsdb cluster status says which nodes do not answer."
)


def nothing_stored(error: CannotConnectNow, database: str) -> CannotConnectNow:
    """For a write that is certain to be nowhere."""
    return CannotConnectNow(
        f'database "{database}" does not take this write now, so nothing of it is stored: send it again '
        f"({error.message})",
        detail=error.detail,
        hint=TRY_AGAIN,
    )
