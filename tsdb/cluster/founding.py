"""What a cluster begins with: its id and first member, the databases that there are from the start, and a secret.

Also what a node does with what an earlier life of it has left behind.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID, uuid4

from tsdb.cluster.metadata.agreement import Agreement
from tsdb.cluster.metadata.commands import ChangeSchema, Found, NewMember
from tsdb.cluster.metadata.records import NO_ID, Member
from tsdb.model.relations import TEMPORARY, name_of, passes_with_its_process, schema_of
from tsdb.model.role_changes import SetSecret
from tsdb.model.schema import (
    Catalog,
    CreateDatabase,
    DropSequence,
    DropSeries,
    DropView,
    SchemaChange,
    applied,
)
from tsdb.storage.engine import Engine
from tsdb.storage.identity import Identity

FIRST_DATABASES = ("tsdb", "postgres")
SECRET_BYTES = 32


class _Unchanged(Exception):
    """A change that changes nothing: it needs no place in the log."""


def change_schema(engine: Engine, agreement: Agreement, changes: Sequence[SchemaChange]) -> None:
    """Have changes agreed on. Raises their errors, and what ``Agreement.propose`` raises."""

    def check() -> None:
        before = engine.catalog
        engine.check_unchanged(changes)
        if applied(before, changes).catalog is before:
            raise _Unchanged

    with contextlib.suppress(_Unchanged):
        agreement.propose(ChangeSchema.of(changes), check=check)


def found(engine: Engine, agreement: Agreement) -> None:
    """Make a cluster of a node by itself, as far as it is none yet: a directory from before there were groups, too."""
    if agreement.state.group.cluster == NO_ID:
        answer = agreement.propose(Found(uuid4().bytes, NewMember(uuid4().bytes)))
        assert answer.values == (engine.node,), f"the first node is node {engine.node}, and not {answer}"
    if engine.identity is None:
        # What the group says of this node stands, so that it is the same after a crash in between.
        member = agreement.state.get(Member, engine.node)
        assert member is not None, "a node by itself is a member of its cluster"
        cluster = UUID(bytes=agreement.state.group.cluster)
        known = Identity(UUID(bytes=member.uuid), cluster, member.node)
        engine.call(lambda: engine.identify(known))
    if engine.catalog.next_database == 1:
        change_schema(engine, agreement, [CreateDatabase(name) for name in FIRST_DATABASES])
    if not engine.catalog.roles.secret:
        change_schema(engine, agreement, [SetSecret(secrets.token_bytes(SECRET_BYTES))])


def made_by(node: int) -> Callable[[str], bool]:
    """Whether what passes with its process, by its path, was a session's of this node.

    Sessions have the number of their node in the upper half of their ids; a node by itself has none there.
    """

    def was_own(path: str) -> bool:
        schema = schema_of(path)
        text = schema.removeprefix(TEMPORARY) if schema.startswith(TEMPORARY) else name_of(path)
        digits = text.partition("_")[0]
        return digits.isdigit() and int(digits) >> 16 in (0, node)

    return was_own


def leftovers(catalog: Catalog, own: Callable[[str], bool] = lambda path: True) -> Iterator[SchemaChange]:
    """What passes with its process and was left by one that was killed: temporary tables, unfinished content.

    ``own``: whether what has this path was this node's.
    """
    for database in catalog.databases.values():
        for view in database.views.values():
            if passes_with_its_process(view.schema) and own(view.path):
                yield DropView(database.name, view.path, cascade=True)
        for series in database.series.values():
            if passes_with_its_process(series.schema) and own(series.path):
                yield DropSeries(database.name, series.path, cascade=True)
        for sequence in database.sequences.values():
            if passes_with_its_process(sequence.schema) and not sequence.series and own(sequence.path):
                yield DropSequence(database.name, sequence.path, cascade=True)
