"""nextval(), currval(), lastval() and setval(), as DuckDB calls them (``sequence_calls``); a sequence's one row.

Source: PostgreSQL 15 manual, 9.17 (sequence manipulation functions).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from sqlglot import exp

from tsdb.errors import FeatureNotSupported, UndefinedFunction, UndefinedTable
from tsdb.model.catalog import Catalog
from tsdb.model.relations import SqlSequence
from tsdb.model.schema import Series
from tsdb.sql import lexer, names
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import special
from tsdb.sql.catalog import oids
from tsdb.sql.context import Context
from tsdb.sql.expressions.coercion import coerce, constant, implicit, is_text
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Relation, RelationColumn, Scope, Source
from tsdb.sql.sequence_calls import FUNCTION
from tsdb.types import BOOL, INT4, INT8, OID, REGCLASS, SqlType

_HINT = "No function matches the given name and argument types. You might need to add explicit type casts."
_SIGNATURES: dict[str, tuple[tuple[SqlType, ...], ...]] = {
    "nextval": ((REGCLASS,),),
    "currval": ((REGCLASS,),),
    "lastval": ((),),
    "setval": ((REGCLASS, INT8), (REGCLASS, INT8, BOOL)),
}
_COLUMNS = {"last_value": INT8, "log_cnt": INT8, "is_called": BOOL}


def _bind(name: str) -> None:
    @special(name)
    def bound(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
        given = [binder.bind(a, scope) for a in arguments]
        types = next((each for each in _SIGNATURES[name] if len(each) == len(given)), None)
        if types is None or not all(map(_takes, given, types)):
            shown = ", ".join("unknown" if a.unknown else a.type.name for a in given)
            raise UndefinedFunction(f"function {name}({shown}) does not exist", hint=_HINT)
        args = [
            _named(binder, a) or coerce(a, t, binder.context) if t is REGCLASS else coerce(a, t, binder.context)
            for a, t in zip(given, types, strict=True)
        ]
        texts = [a.sql for a in args] + ["CAST(NULL AS BIGINT)", "CAST(NULL AS BIGINT)", "true"][len(args) :]
        texts[:2] = [f"CAST({text} AS BIGINT)" for text in texts[:2]]
        sql = f"{FUNCTION}({binder.context.backend_pid}, '{name}', {', '.join(texts)})"
        return combine(sql, INT8, "call", tuple(args), name=name, stable=False)


def _takes(given: Expr, wanted: SqlType) -> bool:
    if given.unknown:
        return True
    return (
        given.type in (REGCLASS, OID, INT4, INT8) or is_text(given.type)
        if wanted is REGCLASS
        else implicit(given.type, wanted)
    )


def _named(binder: Binder, argument: Expr) -> Expr | None:
    """The OID of a relation whose name is a constant, found as FROM finds it: also where it is temporary."""
    if not argument.unknown or not isinstance(argument.value, str):
        return None
    parts = [t.value for t in lexer.tokens(argument.value) if t.kind in ("word", "quoted")]
    if not 1 <= len(parts) <= 2:
        return None
    found = names.find(binder.context, binder.database, parts[0] if len(parts) == 2 else "", parts[-1])
    if found is None:
        raise UndefinedTable(f'relation "{argument.value}" does not exist', position=argument.position)
    number = found.identity if isinstance(found, Series) else found.number
    return constant(REGCLASS, oids.of(number), argument)


for _name in _SIGNATURES:
    _bind(_name)


def relation_of(binder: Binder, sequence: SqlSequence, name: str) -> tuple[str, Relation]:
    """SELECT … FROM a sequence: its text and relation."""
    role = binder.through[-1].owner if binder.through else None

    def table(catalog: Catalog, context: Context, names: Sequence[str]) -> pa.Table:
        if context.session is None:
            raise FeatureNotSupported("a sequence is read by a session")
        found = catalog.find(context.database).sequence_by_number.get(sequence.number, sequence)
        state = context.session.sequences.state(found, role)
        values = {"last_value": state.last, "log_cnt": state.left, "is_called": state.called}
        hidden = pa.array([oids.of(sequence.number)], pa.int64())
        return pa.table({n: pa.array([values[n]], _COLUMNS[n].arrow) if n in values else hidden for n in names})

    source = binder.source(Source(len(binder.sources) + 1, table=table, role=role))
    columns = [RelationColumn(n, sql_type, key=n, number=i + 1) for i, (n, sql_type) in enumerate(_COLUMNS.items())] + [
        RelationColumn("tableoid", OID, hidden=True, key="tableoid")
    ]
    relation = Relation(name, binder.alias(), columns, source, oid=oids.of(sequence.number))
    return f"{source.name} AS {relation.alias}", relation
