"""How far the sequences of replicated databases have counted: the values up to a number are some node's to give.

A node reserves a block of values by a command and gives them one by one. Two nodes that take the same decision at once
name what they have seen (``commands.Expected``), so one of them is refused; a node that is lost leaves a gap.
"""

from __future__ import annotations

from tsdb.cluster.metadata.commands import Count
from tsdb.cluster.metadata.records import Counted
from tsdb.cluster.metadata.state import Draft
from tsdb.errors import InvalidParameterValue, UndefinedTable

DIGITS_MAX = 20


def count(draft: Draft, action: Count) -> tuple[int, ...]:
    """Gives the command's index, by which the record is known to be unchanged."""
    database = draft.catalog.databases_by_number.get(action.database)
    if database is None or action.sequence not in database.sequence_by_number:
        raise UndefinedTable(f"database {action.database} has no sequence {action.sequence}")
    if not 1 <= len(action.following) <= DIGITS_MAX or not action.following.removeprefix("-").isdecimal():
        raise InvalidParameterValue(f"a sequence counts in whole numbers, not {action.following!r}")
    draft.put(Counted(action.sequence, action.database, action.following, action.called))
    return (draft.index,)


def forget(draft: Draft) -> None:
    """Of sequences that are dropped: their numbers are not given again."""
    for record in list(draft.all(Counted)):
        database = draft.catalog.databases_by_number.get(record.database)
        if database is None or record.sequence not in database.sequence_by_number:
            draft.remove(Counted, record.sequence)
