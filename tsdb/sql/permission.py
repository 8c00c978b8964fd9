"""Whether the current role may read and change the rows that a statement names; asked when it starts to run.

Which columns a statement reads is not looked at: SELECT on the table is needed where it reads any of its columns, as
PostgreSQL demands without privileges on columns.

Source: PostgreSQL 15 manual, 5.7, and the notes on privileges of INSERT, UPDATE, DELETE, TRUNCATE; execMain.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from tsdb.model import privileges
from tsdb.model.privileges import Privilege
from tsdb.model.relations import PUBLIC, SqlView
from tsdb.model.schema import Catalog, Series
from tsdb.sql.context import Context
from tsdb.sql.expressions.relation import Source
from tsdb.sql.statement import Delete, Insert, Statement, Update


def check(
    catalog: Catalog, context: Context, relation: Series | SqlView, wanted: Privilege, role: int | None = None
) -> None:
    """Raises InsufficientPrivilege unless a role (None: the current one) has ``wanted`` on a relation, and may use its
    schema."""
    role = context.role if role is None else role
    namespace = catalog.find(context.database).namespaces.get(relation.schema)
    if namespace is not None and relation.schema != PUBLIC:
        privileges.check(catalog.roles, role, namespace, Privilege.USAGE)
    privileges.check(catalog.roles, role, relation, wanted)


def check_sources(catalog: Catalog, context: Context, sources: Iterable[Source], but: Series | None = None) -> None:
    """SELECT on every series that a query reads; ``but`` is asked for elsewhere. Through a view its owner needs it."""
    for source in sources:
        series = source.series
        if series is not None and (but is None or series.number != but.number):
            check(catalog, context, series, Privilege.SELECT, source.role)


def check_views(catalog: Catalog, context: Context, viewed: Iterable[tuple[SqlView, int | None]]) -> None:
    """SELECT on every view that a query reads, for the session's role or the owner of the view around."""
    for view, role in viewed:
        check(catalog, context, view, Privilege.SELECT, role)


def check_modification(catalog: Catalog, context: Context, statement: Statement, series: Series) -> None:
    """What INSERT, UPDATE and DELETE need on their target."""
    check(catalog, context, series, wanted_by(statement))


def wanted_by(statement: Statement) -> Privilege:
    """The privileges that a modification needs on its target."""
    if isinstance(statement, Insert):
        wanted = Privilege.INSERT
        conflict = statement.tree.args.get("conflict")
        if conflict is not None:
            wanted |= Privilege.SELECT if conflict.args.get("conflict_keys") else Privilege.NONE
            wanted |= Privilege.UPDATE if conflict.expressions else Privilege.NONE
    elif isinstance(statement, Update):
        wanted = Privilege.UPDATE
        if any(item.expression.find(exp.Column) for item in statement.tree.expressions if item.expression is not None):
            wanted |= Privilege.SELECT
    else:
        assert isinstance(statement, Delete)
        wanted = Privilege.DELETE
    if any(statement.tree.args.get(key) for key in ("where", "from_", "using", "returning")):
        wanted |= Privilege.SELECT
    return wanted
