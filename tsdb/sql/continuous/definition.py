"""CREATE MATERIALIZED VIEW … WITH (continuous): what its query must be, and the series that stores its buckets."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tsdb import zones
from tsdb.errors import FeatureNotSupported
from tsdb.model.continuous import Continuous
from tsdb.model.schema import Catalog, CreateSeries, Role, Series
from tsdb.sql.bind import datetimes, time_bucket
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import function_name
from tsdb.sql.bind.query import bind_query
from tsdb.sql.context import Context
from tsdb.sql.continuous.options import Options
from tsdb.sql.expressions.block import Block, BoundQuery
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import Grouping
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.intervals import US_PER_DAY, Interval
from tsdb.sql.plan import column_of
from tsdb.sql.rules.prune_by_time import clock
from tsdb.sql.statement import Select
from tsdb.types import TEXT

_MANY_YEARS_US = 500 * 366 * US_PER_DAY
_MANY_MONTHS = 500 * 12
_OTHER_CLAUSES = ("with_", "having", "distinct", "order", "limit", "offset", "fetch")
# Of timestamps with time zone these depend on no session's time zone; an aggregate does if it makes JSON of them.
_ZONELESS = frozenset(
    ("=", "<>", "<", "<=", ">", ">=", "and", "or", "not", "is null", "is not null", "= any", "<> all", "aggregate")
)
_OF_SESSIONS = frozenset(
    (
        "current_setting", "current_schema", "current_schemas", "current_database", "current_catalog", "current_role",
        "current_user", "session_user", "pg_backend_pid", "version", "user", "currentuser", "sessionuser",
        "currentdate", "currenttime", "currenttimestamp", "localtime", "localtimestamp", "currentschema",
        "currentdatabase", "currentcatalog", "currentrole", "nextval", "currval", "lastval", "random",
        "clock_timestamp", "timeofday",
    )
)  # fmt: skip


def continuous_of(select: Select, context: Context, catalog: Catalog, options: Options) -> tuple[Continuous, list[int]]:
    """(the buckets of a query and how they are kept, the places of its bucket and of its tags in the select list).

    Raises what is wrong with the query, and FeatureNotSupported for one that cannot be kept up to date by buckets.
    """
    binder = Binder(context, catalog, catalog.find(context.database), bind_query=bind_query)
    query = bind_query(binder, select.tree, None)
    block, grouping = _checked(binder, query, select.tree)
    at = next((i for i, target in enumerate(grouping.targets) if _is_bucket(target, grouping)), None)
    if at is None:
        raise FeatureNotSupported(
            "a continuous view needs time_bucket() of its series' time in SELECT and GROUP BY",
            hint="Write SELECT time_bucket('1 hour', time) AS bucket, … GROUP BY bucket, …",
        )
    for expr in (*grouping.targets, *grouping.keys, *(c.expr for c in block.conditions)):
        _check_lasting(expr, grouping.targets[at])
    node = select.tree.expressions[at] if len(select.tree.expressions) == len(grouping.targets) else None
    made = _bucket(binder, node, block)
    made = replace(made, lag_ns=options.lag_ns or 0, stored_only=bool(options.stored_only))
    if options.every_ns is not None:
        made = replace(made, every_ns=options.every_ns)
    tags = [i for i, target in enumerate(grouping.targets) if _is_tag(target)]
    return made, [at, *tags]


def _checked(binder: Binder, query: BoundQuery, tree: exp.Expr) -> tuple[Block, Grouping]:
    """The one block of a query that is one aggregate of one series."""
    block = query.block
    grouping = block.grouping if block is not None else None
    series = binder.sources[0].series if len(binder.sources) == 1 else None
    more = any(tree.args.get(clause) for clause in _OTHER_CLAUSES)
    if block is None or grouping is None or len(binder.blocks) != 1 or more:
        raise FeatureNotSupported(
            "a continuous view is one SELECT … FROM … WHERE … GROUP BY, without subqueries, HAVING, DISTINCT, ORDER BY "
            "and LIMIT",
            hint="Make a view over the continuous view.",
        )
    if series is None or len(block.relations) != 1 or series.reference or series.definition is not None:
        raise FeatureNotSupported("a continuous view reads one table that has a time, and nothing else")
    if binder.viewed:
        raise FeatureNotSupported("a continuous view reads a table, not a view")
    if binder.parameters:
        raise FeatureNotSupported("a continuous view has no parameters")
    for node in tree.walk():
        name = function_name(node) if isinstance(node, exp.Anonymous) else node.key
        if name in _OF_SESSIONS:
            raise _not_lasting(name)
    if "\x01" in query.sql:
        raise _not_lasting("now() or a function of the session")
    return block, grouping


def _not_lasting(what: str) -> FeatureNotSupported:
    return FeatureNotSupported(
        f"{what} has another value each time, so a continuous view cannot store what it makes",
        hint="Only what depends on the rows of a bucket alone can be stored.",
    )


def _is_bucket(target: Expr, grouping: Grouping) -> bool:
    return target.op == "bucket" and any(target.sql == key.sql for key in grouping.keys)


def _is_tag(target: Expr) -> bool:
    reference = column_of(target)
    column = reference.relation.columns[reference.index].series_column if reference is not None else None
    return column is not None and column.role is Role.TAG and column.type == TEXT


def _check_lasting(expr: Expr, bucket: Expr) -> None:
    """Raises FeatureNotSupported for what depends on chance, or on the time zone of whoever reads."""
    if expr.sql == bucket.sql:
        return
    if not expr.stable or expr.op in ("now", "set", "window", "subquery"):
        raise _not_lasting("a function whose value changes")
    zoned = any(arg.type.typname == "timestamptz" and arg.op != "literal" for arg in expr.args)
    json = expr.op == "aggregate" and expr.type.typname in ("json", "jsonb") and expr.args[0].type != expr.type
    epoch = expr.op == "extract" and expr.value == "epoch"
    apart = expr.op == "-" and all(arg.type.typname == "timestamptz" for arg in expr.args)
    made = expr.op == "cast" and expr.type.typname == "timestamptz" and any(a.op != "literal" for a in expr.args)
    if made or (zoned and (expr.op not in _ZONELESS or json) and not (epoch or apart)):
        raise FeatureNotSupported(
            "an expression of a continuous view depends on the time zone of whoever reads it",
            hint="Of a timestamp with time zone only time_bucket, comparisons, first, last, min, max, count and "
            "extract(epoch from …) can be stored.",
        )
    for arg in expr.args:
        _check_lasting(arg, bucket)


def _bucket(binder: Binder, node: exp.Expr | None, block: Block) -> Continuous:
    """What a call of time_bucket means, as ``bind.datetimes`` binds it."""
    inner = node.this if isinstance(node, exp.Alias) else node
    while isinstance(inner, exp.Paren):
        inner = inner.this
    if not isinstance(inner, exp.Anonymous) or function_name(inner) != "time_bucket":
        raise FeatureNotSupported("a continuous view's buckets are those of time_bucket()")
    plain, options = time_bucket.split(binder, inner.expressions, Scope(None, list(block.relations)))
    bucket, time = time_bucket.described(binder, plain, options)
    if clock(time) is not False:
        raise FeatureNotSupported("time_bucket() of a continuous view takes the time column of its series")
    if bucket.months is None or bucket.fixed is None:
        raise FeatureNotSupported("the width of a continuous view's buckets must be constant")
    if bucket.fixed > _MANY_YEARS_US or bucket.months > _MANY_MONTHS:
        raise FeatureNotSupported("the buckets of a continuous view may be 500 years wide")
    zone = "" if bucket.zone is None else str(_constant(bucket.zone))
    origin = time_bucket.MONTH_ORIGIN_US if bucket.months else datetimes.BUCKET_ORIGIN_US
    if bucket.origin is not None:
        given = _constant(bucket.origin)
        if not isinstance(given, int) or abs(given) > _MANY_YEARS_US:
            raise FeatureNotSupported("the origin of a continuous view's buckets is too far away")
        origin = given + (zones.zone(zone).offset_s(given) * zones.US_PER_SECOND if zone else 0)
    shift = Interval(0, 0, 0) if bucket.offset is None else _constant(bucket.offset)
    if not isinstance(shift, Interval) or shift.months or abs(shift.approximate_us) > _MANY_YEARS_US:
        raise FeatureNotSupported("the offset of a continuous view's buckets is without months")
    return Continuous(bucket.months, bucket.fixed, origin, shift.days * US_PER_DAY + shift.microseconds, zone)


def _constant(expr: Expr) -> object:
    inner = expr
    while inner.op == "cast":
        inner = inner.args[0]
    if inner.op != "literal":
        raise FeatureNotSupported("the arguments of a continuous view's time_bucket() must be constant")
    return expr.value if expr.op == "literal" else inner.value


def shaped(change: CreateSeries, bucket: int, tags: list[int]) -> CreateSeries:
    """The stored part of a continuous view: the bucket is its time, and tags of the source are its tags."""
    columns = []
    for place, column in enumerate(change.columns):
        role = Role.TIME if place == bucket else Role.TAG if place in tags else Role.FIELD
        columns.append(replace(column, role=role, not_null=place == bucket))
    return replace(change, columns=tuple(columns), reference=False, keyed=False, key=(), populated=True)


def source_of(catalog: Catalog, database: str, series: Series) -> Series:
    """The source of a continuous view."""
    found = catalog.find(database).source_of(series)
    assert found is not None, "a continuous view has a source: it cannot be dropped without the view"
    return found
