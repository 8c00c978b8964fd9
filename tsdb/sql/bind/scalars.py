"""Columns, constants, casts, CASE, arrays and subqueries in expressions."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from sqlglot import exp

from tsdb.errors import (
    DatatypeMismatch,
    FeatureNotSupported,
    NumericValueOutOfRange,
    SqlSyntaxError,
    UndefinedTable,
)
from tsdb.model.relations import name_of
from tsdb.sql import limits, literal, names, trees, type_names
from tsdb.sql.bind import places
from tsdb.sql.bind.binder import Binder, binds, fold
from tsdb.sql.expressions import blanks, coercion, shown
from tsdb.sql.expressions.closed import is_closed
from tsdb.sql.expressions.coercion import coerce, constant, unify
from tsdb.sql.expressions.expression import NOW_MARKER, Expr, combine
from tsdb.sql.expressions.relation import Relation, Scope
from tsdb.sql.expressions.rows import row_of
from tsdb.types import (
    BOOL,
    BPCHAR,
    BY_NAME,
    CHAR,
    DATE,
    FLOAT8,
    INT4,
    INT8,
    JSONB,
    NAME,
    NUMERIC,
    TEXT,
    TIMESTAMPTZ,
    UNKNOWN,
    array_of,
)


@binds(exp.Column)
def column(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    assert isinstance(node, exp.Column)
    if isinstance(node.this, exp.Star):
        if node.args.get("table") is None:
            raise SqlSyntaxError("syntax error: * stands in a select list")
        return qualifier(binder, node, scope).row()
    name, position = fold(node.this), binder.position(node.this)
    if node.args.get("table") is None:
        if name == "user" and not node.this.args.get("quoted"):
            return _text(binder.context.user, "user")
        return scope.column(name, position)
    first = node.args.get("catalog") or node.args.get("db") or node.args["table"]
    return scope.qualified(qualifier(binder, node, scope), name, binder.position(first))


def qualifier(binder: Binder, node: exp.Column, scope: Scope) -> Relation:
    """What stands before the dot: ``relation``, ``schema.relation`` or ``database.schema.relation``."""
    table, schema, database = (fold(node.args.get(part)) for part in ("table", "db", "catalog"))
    position = binder.position(node.args.get("catalog") or node.args.get("db") or node.args["table"])
    if database and database != binder.database.name:
        raise UndefinedTable(f'invalid reference to FROM-clause entry for table "{table}"', position=position)
    if schema and binder.frame is not None and scope.find(table, position, schema) is None:
        schema = ""  # A view's text: what it reads has moved to another schema since.
    return scope.relation(table, position, schema)


@binds(exp.Literal)
def literal_(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    position = binder.position(node)
    if node.args["is_string"]:
        return Expr(literal.quote(node.name), UNKNOWN, "literal", (), node.name, position=position)
    text = str(node.this)
    if text.isdigit() and len(text) <= 19:
        number = int(text)
        if number < 2**31:
            return Expr(text, INT4, "literal", (), number, position=position)
        if number < 2**63:
            return Expr(f"CAST({text} AS BIGINT)", INT8, "literal", (), number, position=position)
    if "e" in text.lower() and abs(Decimal(text)) > Decimal("1.7976931348623157e308"):
        raise NumericValueOutOfRange(f'"{text}" is out of range for type double precision', position=position)
    if "e" in text.lower() and literal.numeric_digits(Decimal(text))[0] > literal.NUMERIC_DIGITS:
        # PostgreSQL's numeric holds 1e308; what comes next is a cast to double precision.
        return replace(constant(FLOAT8, float(text)), position=position)
    return replace(constant(NUMERIC, literal.numeric_value(text)), position=position)


@binds(exp.RawString, exp.National, exp.UnicodeString)
def string(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return Expr(literal.quote(node.name), UNKNOWN, "literal", (), node.name)


@binds(exp.Concat)
def continued_string(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    # Functions come as Anonymous: Concat is two string literals with a line break between them.
    text = "".join(part.name for part in node.expressions)
    return Expr(literal.quote(text), UNKNOWN, "literal", (), text)


@binds(exp.HexString, exp.BitString, exp.ByteString)
def bits(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    raise FeatureNotSupported("bit string constants are not supported")


@binds(exp.Null)
def null(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return Expr("NULL", UNKNOWN, "literal", (), None)


@binds(exp.Boolean)
def boolean(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return constant(BOOL, bool(node.this))


@binds(exp.Parameter, exp.Placeholder)
def parameter(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    if not isinstance(node.this, exp.Literal) or not node.this.name.isdigit():
        raise SqlSyntaxError("syntax error: parameters are written $1, $2 …")
    return binder.parameter(int(node.this.name))


@binds(exp.Paren)
def paren(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    # GROUP BY and its like know equal expressions by their text: parentheses that say nothing are no part of it.
    inner = binder.bind(node.this, scope)
    bare = inner.op in ("literal", "column", "parameter") or is_closed(inner.sql)
    return inner if bare else replace(inner, sql=f"({inner.sql})")


@binds(exp.Collate)
def collate(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    name = node.expression.name
    if name.lower() not in ("c", "posix", "default", "ucs_basic", "c.utf-8"):
        raise FeatureNotSupported(f'collation "{name}" is not supported', hint='Texts sort by bytes: COLLATE "C".')
    return binder.bind(node.this, scope)


@binds(exp.Cast)
def cast(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    target, typmod = type_names.of_node(node.args["to"], binder.own_type)
    inner = binder.bind(node.this, scope)
    column = node.args.get(trees.ASSIGNED_TO)
    if column is not None and not coercion.assignable(inner.type, target):
        raise DatatypeMismatch(
            f'column "{column}" is of type {target.name} but expression is of type {inner.type.name}',
            hint="You will need to rewrite or cast the expression.",
            position=inner.position,
        )
    if column is not None and target == BPCHAR:
        # What is too long is refused when it is written, not cut.
        made = blanks.padded(coerce(inner, target, binder.context), typmod)
    else:
        made = coercion.explicit_cast(inner, target, typmod, binder.context)
    # PostgreSQL names a column by what is cast, by the type when that has no name of its own.
    if inner.name != "?column?" and not inner.weak:
        return made.named(inner.name)
    return made.named(name_of(target.typname.removeprefix("_")), weak=True)


@binds(exp.ParseJSON)
def json_constant(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    """json '…'"""
    made = coercion.explicit_cast(binder.bind(node.this, scope), BY_NAME["json"], -1, binder.context)
    return made.named("json", weak=True)


@binds(exp.CurrentTimestamp)
def current_timestamp(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return now("current_timestamp")


def now(name: str) -> Expr:
    return Expr(NOW_MARKER, TIMESTAMPTZ, "now", name=name)


@binds(exp.CurrentDate)
def current_date(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return replace(coerce(now("current_date"), DATE, binder.context), name="current_date")


@binds(exp.Localtimestamp, exp.CurrentTime, exp.Localtime)
def local_now(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    kinds = ((exp.Localtimestamp, "localtimestamp", "timestamp"), (exp.CurrentTime, "current_time", "timetz"))
    name, typname = next(((n, t) for kind, n, t in kinds if isinstance(node, kind)), ("localtime", "time"))
    target = BY_NAME[typname]
    return replace(coerce(now(name), target, binder.context), name=name)


@binds(exp.CurrentUser, exp.SessionUser)
def current_user(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    if isinstance(node, exp.CurrentUser):
        return _text(binder.context.user, "current_user")
    return _text(binder.context.session_user, "session_user")


@binds(exp.CurrentCatalog)
def current_catalog(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return _text(binder.context.database, "current_catalog")


@binds(exp.CurrentSchema)
def current_schema(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    path = names.search_path(binder.context, binder.database)
    return _text(path[0] if path else None, "current_schema")


def _text(value: str | None, name: str) -> Expr:
    return replace(constant(NAME, value), name=name)


@binds(exp.Case)
def case(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    limits.check_terms(len(node.args["ifs"]))
    branches = [binder.bind(each.args["true"], scope) for each in node.args["ifs"]]
    default = node.args.get("default")
    last = Expr("NULL", UNKNOWN, "literal") if default is None else binder.bind(default, scope)
    # PostgreSQL looks at ELSE first (transformCaseExpr).
    target, (other, *results) = unify([last, *branches], "CASE", binder.context)
    results.append(other)
    conditions = []
    for each in node.args["ifs"]:
        test = exp.EQ(this=node.this, expression=each.this) if node.this is not None else each.this
        conditions.append(coercion.as_bool(binder.bind(test, scope), "CASE/WHEN", binder.context))
    parts = [f"WHEN {c.sql} THEN {r.sql}" for c, r in zip(conditions, results[:-1], strict=True)]
    sql = f"CASE {' '.join(parts)} ELSE {results[-1].sql} END"
    made = combine(sql, target, "case", (*conditions, *results), digits=results[0].digits)
    tests = " ".join(f"WHEN {c.sql.replace('{', '{{').replace('}', '}}')} THEN {{}}" for c in conditions)
    made = shown.alternatives(made, [*branches, last], f"CASE {tests} ELSE {{}} END")
    strong = last.name != "?column?" and not last.weak
    return made.named(last.name) if strong else made.named("case", weak=True)


@binds(exp.Array)
def array(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    items = [binder.bind(item, scope) for item in node.expressions]
    if not items:
        return Expr("[]", array_of(TEXT), "array", name="array")
    target, items = unify(items, "ARRAY", binder.context)
    sql = f"[{', '.join(item.sql for item in items)}]"
    typmod = items[0].typmod if len({item.typmod for item in items}) == 1 else -1
    return combine(sql, array_of(target), "array", tuple(items), digits=items[0].digits, name="array", typmod=typmod)


@binds(exp.Bracket)
def subscript(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    inner = binder.bind(node.this, scope)
    if inner.type == JSONB:
        if isinstance(node.expressions[0], exp.Slice):
            raise DatatypeMismatch("jsonb subscript does not support slices")
        # A subscript is one step of a path, numbers too.
        key = trees.cast_to(node.expressions[0].copy(), "text")
        path = exp.Array(expressions=[key])
        return binder.bind(exp.JSONBExtract(this=node.this, expression=path), scope).named(inner.name)
    if inner.type.typname == "point" and not isinstance(node.expressions[0], exp.Slice):
        place = coerce(binder.bind(node.expressions[0], scope), INT8, binder.context)
        return combine(f"py_point_part({inner.sql}, {place.sql})", FLOAT8, "call", (inner, place), name=inner.name)
    if inner.type == NAME and not isinstance(node.expressions[0], exp.Slice):
        # A name is an array of characters that is counted from 0; pg_dump looks at the first.
        place = coerce(binder.bind(node.expressions[0], scope), INT4, binder.context)
        character = f"CASE WHEN {place.sql} BETWEEN 0 AND 63 THEN substring({inner.sql}, {place.sql} + 1, 1) END"
        return combine(character, CHAR, "call", (inner, place), name=inner.name)
    if inner.type.element is None:
        raise DatatypeMismatch(f"cannot subscript type {inner.type.name} because it does not support subscripting")
    index = node.expressions[0]
    if isinstance(index, exp.Slice):
        low = _index(binder, index.this, scope, "1")
        high = _index(binder, index.expression, scope, f"len({inner.sql})")
        sql = f"list_slice({inner.sql}, greatest({low}, 1), {high})"
        return combine(sql, inner.type, "call", (inner,), digits=inner.digits, name=inner.name)
    at = coerce(binder.bind(index, scope), INT4, binder.context)
    if inner.type.vector:
        # int2vector and oidvector count from 0.
        at = replace(at, sql=f"({at.sql} + 1)")
    sql = f"CASE WHEN {at.sql} > 0 THEN list_extract({inner.sql}, {at.sql}) END"
    return combine(sql, inner.type.element, "call", (inner, at), digits=inner.digits, name=inner.name)


def _index(binder: Binder, node: exp.Expr | None, scope: Scope, absent: str) -> str:
    return absent if node is None else coerce(binder.bind(node, scope), INT4, binder.context).sql


@binds(exp.Subquery, exp.Select)
def scalar_subquery(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    query = binder.bind_query(binder, node, scope)
    if len(query.outputs) != 1:
        place = places.of_subquery(binder.fragment, node)
        raise SqlSyntaxError("subquery must return only one column", position=place)
    output = query.outputs[0]
    # DuckDB would take the first of several rows when told so; PostgreSQL's 21000 is its default.
    return Expr(
        f"({query.sql})", output.type, "subquery", (), query, output.typmod, output.digits, name=output.name,
    )  # fmt: skip


@binds(exp.Exists)
def exists(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    query = binder.bind_query(binder, node.this, scope)
    return Expr(f"EXISTS ({query.sql})", BOOL, "subquery", (), query, name="exists")


@binds(exp.Tuple)
def row(binder: Binder, node: exp.Expr, scope: Scope) -> Expr:
    return row_of([binder.bind(item, scope) for item in node.expressions])
