"""time_bucket_gapfill: rows for buckets without points, and what locf and interpolate put into them.

A SELECT that groups by time_bucket_gapfill is bound twice. First plainly, which gives its groups; then again while a
``Filling`` puts a column of the filled rows in the place of each aggregate and each group, so that everything around
them (coalesce, windows, ORDER BY) is computed over the filled rows. In DuckDB's text that is, from inside out:

1. the grouped query: b the bucket, g1 … the other groups, a1 … the aggregates;
2. for each combination of other groups, lists of all these;
3. py_gapfill adds the missing buckets, py_places_… say which row a bucket takes its values from (``computed.gaps``);
4. the lists as rows again, in which a bucket without points has NULL for every aggregate.

Source: TimescaleDB's reference, time_bucket_gapfill, locf, interpolate; gapfill_exec.c, locf.c, interpolate.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tsdb.errors import FeatureNotSupported, InvalidParameterValue
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.time_bucket import Bucket
from tsdb.sql.expressions.block import Block
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.intervals import US_PER_DAY
from tsdb.sql.plan import both_sides, column_of, is_constant
from tsdb.types import TIMESTAMPTZ

MARK = "gapfill"
FILLED = "filled"
_QUARTER_HOUR_US = 900_000_000


@dataclass(frozen=True, slots=True)
class Gaps:
    """The ``value`` of a call of time_bucket_gapfill: its bucket, its time, and bounds if they were given."""

    bucket: Bucket
    time: Expr
    start: Expr | None = None
    finish: Expr | None = None


@dataclass(eq=False)
class Filling:
    """The filled rows of one SELECT, under the name ``alias``. ``groups`` are its GROUP BY, of which ``at`` is the
    bucket; ``collected`` are the lists' columns besides, ``computed`` are columns over the filled rows."""

    scope: Scope
    gaps: Gaps
    groups: Sequence[Expr]
    at: int
    alias: str
    series: str
    aggregates: list[Expr] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    unnested: dict[str, str] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)
    by_default: Callable[[Binder, Expr], Expr] | None = None
    outer: Filling | None = None

    def of(self, binder: Binder, expr: Expr, scope: Scope) -> Expr:
        """What stands for a bound expression: a filled column, or itself."""
        if expr.op == FILLED or (scope is self.scope and binder.refused == "an aggregate"):
            return expr
        for number, group in enumerate(self.groups):
            if expr.sql == group.sql:
                name = "b" if number == self.at else f"g{number + 1}"
                return self._column(expr, name, f"k{number + 1}")
        if expr.op != "aggregate" or scope is not self.scope:
            return expr if self.outer is None else self.outer.of(binder, expr, scope)
        known = next((i for i, a in enumerate(self.aggregates) if a.sql == expr.sql), None)
        if known is None:
            known = len(self.aggregates)
            self.aggregates.append(expr)
        made = self._column(expr, f"a{known + 1}", f"s{known + 1}")
        return self.by_default(binder, made) if self.by_default is not None else made

    def _column(self, expr: Expr, name: str, shown: str) -> Expr:
        text = f"{self.alias}.{shown}" if expr.shown is not None else None
        return replace(
            expr, sql=f"{self.alias}.{name}", op=FILLED, args=(), value=None, aggregate=False, shown=text, stable=True
        )

    def collect(self, value: str) -> str:
        """The list of a value over the grouped rows (in terms of ``alias``)."""
        if value not in self.values:
            self.values.append(value)
        return f"v{self.values.index(value) + 1}"

    def unnest(self, listed: str) -> str:
        """The filled column of a list with an item for each filled row."""
        self.unnested.setdefault(listed, f"u{len(self.unnested) + 1}")
        return f"{self.alias}.{self.unnested[listed]}"

    def compute(self, sql: str) -> str:
        """The column of an expression over the filled rows."""
        if sql not in self.computed:
            self.computed.append(sql)
        return f"{self.alias}.c{self.computed.index(sql) + 1}"

    def text(self, rest: str) -> str:
        """What FROM names; ``rest`` is FROM, WHERE, GROUP BY and HAVING of the grouped query."""
        kind = self.gaps.bucket.type.typname
        to_time = {"timestamptz": "make_timestamptz({})", "timestamp": "make_timestamp({})"}
        names: dict[str, str] = {"b": self.groups[self.at].sql}
        keys: list[str] = []
        for number, group in enumerate(self.groups):
            if number != self.at:
                keys.append(f"g{number + 1}")
                names[f"g{number + 1}"] = group.sql
                if group.shown is not None:
                    names[f"k{number + 1}"] = f"any_value({group.shown})"
        for number, aggregate in enumerate(self.aggregates):
            names[f"a{number + 1}"] = aggregate.sql
            if aggregate.shown is not None:
                names[f"s{number + 1}"] = aggregate.shown
        listed = [n for n in names if n[0] in "as"] + [f"v{i + 1}" for i in range(len(self.values))]
        texts = [n for n in names if n[0] == "k"]
        a = self.alias
        grouped = f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in names.items())}{rest}"
        values = "".join(f", {value} AS v{i + 1}" for i, value in enumerate(self.values))
        lists = ", ".join([
            *keys, *(f"any_value({n}) AS {n}" for n in texts), "coalesce(list(epoch_us(b)), []) AS t",
            *(f"coalesce(list({n}), []) AS {n}" for n in listed),
        ])  # fmt: skip
        by = f" GROUP BY {', '.join(keys)}" if keys else ""
        collected = f"SELECT {lists} FROM (SELECT {a}.*{values} FROM ({grouped}) AS {a}) AS {a}{by}"
        placed = f"SELECT {a}.*, py_gapfill({a}.t, ({self.series})) AS p FROM ({collected}) AS {a}"
        time = to_time.get(kind, "CAST(make_timestamp({}) AS DATE)").format(f"unnest({a}.p.b)")
        rows = ", ".join([
            f"{time} AS b", *(f"{a}.{n}" for n in (*keys, *texts)),
            *(f"unnest(list_select({a}.{n}, {a}.p.own)) AS {n}" for n in names if n[0] in "as"),
            *(f"unnest({sql}) AS {name}" for sql, name in self.unnested.items()),
        ])  # fmt: skip
        filled = f"SELECT {rows} FROM ({placed}) AS {a}"
        if self.computed:
            columns = "".join(f", {sql} AS c{i + 1}" for i, sql in enumerate(self.computed))
            filled = f"SELECT {a}.*{columns} FROM ({filled}) AS {a}"
        return f"({filled}) AS {a}"


def filling(
    binder: Binder, scope: Scope, groups: Sequence[Expr], block: Block, fill: Callable[[Binder, Expr], Expr] | None
) -> Filling | None:
    """The filling of a SELECT; None when it has neither time_bucket_gapfill nor FILL (``fill``)."""
    marked = [i for i, g in enumerate(groups) if isinstance(g.value, Gaps)]
    called, binder.gap_calls = binder.gap_calls, []
    if not marked and fill is not None:
        marked = [i for i, g in enumerate(groups) if g.sql in binder.buckets]
        if not marked:
            raise FeatureNotSupported("FILL needs time_bucket in GROUP BY")
    if not marked:
        if "time_bucket_gapfill" in called:
            raise FeatureNotSupported("no top level time_bucket_gapfill in group by clause")
        if called:
            raise FeatureNotSupported(
                f"{called[0]} can only be used with time_bucket_gapfill", hint="Group by time_bucket_gapfill(…)."
            )
        return None
    if len({groups[i].sql for i in marked}) > 1:
        raise FeatureNotSupported("multiple time_bucket_gapfill calls not allowed")
    value = groups[marked[0]].value
    gaps = value if isinstance(value, Gaps) else Gaps(*binder.buckets[groups[marked[0]].sql])
    binder.tables += 1
    alias = f"f{binder.tables}"
    return Filling(scope, gaps, groups, marked[0], alias, _series(gaps, block), by_default=fill)


def _series(gaps: Gaps, block: Block) -> str:
    """All buckets between the bounds, as a query of one list of µs."""
    start = _given(gaps.start) or _bounds(gaps, block, (">", ">="))
    finish = _given(gaps.finish) or _bounds(gaps, block, ("<", "<="))
    if not start or not finish:
        which = "finish" if start else "start"
        if column_of(gaps.time) is None:
            raise InvalidParameterValue(
                "invalid time_bucket_gapfill argument: ts needs to refer to a single column if no start or finish is "
                "supplied", hint="Specify start and finish as arguments or in the WHERE clause.",
            )  # fmt: skip
        raise InvalidParameterValue(
            f"missing time_bucket_gapfill argument: could not infer {which} from WHERE clause",
            hint="Specify start and finish as arguments or in the WHERE clause.",
        )
    bucket = gaps.bucket
    name = "make_timestamptz" if bucket.type == TIMESTAMPTZ else "make_timestamp"
    begin = f"epoch_us({bucket.of(f'{name}(s.t)')})"
    bounds = f"SELECT pg_gap_bound({start}, 'start') AS t, pg_gap_bound({finish}, 'finish') AS u"
    if bucket.months == 0 and bucket.zone is None:
        return f"SELECT pg_gap_series({begin}, s.u, {bucket.fixed}) FROM ({bounds}) AS s"
    # Every bucket has one of the moments that stand closer than the shortest bucket is long.
    moments = f"SELECT unnest(pg_gap_series(s.t, s.u, {_step(bucket)})) AS t FROM ({bounds}) AS s"
    moments += f" UNION ALL SELECT s.u - 1 FROM ({bounds}) AS s WHERE s.t < s.u"
    return f"SELECT coalesce(list(DISTINCT {begin}), []) FROM ({moments}) AS s"


def _step(bucket: Bucket) -> str:
    """In µs: no bucket is shorter, also where clocks are changed."""
    if bucket.months is None or bucket.fixed is None:
        width = bucket.width.sql
        return (
            f"CASE WHEN pg_bucket_months({width}) > 0 THEN {10 * US_PER_DAY} "
            f"ELSE greatest(1, least(pg_bucket_us({width}) // 2, {_QUARTER_HOUR_US})) END"
        )
    if bucket.months:
        return str(10 * US_PER_DAY)
    longest = bucket.fixed if bucket.fixed >= US_PER_DAY else _QUARTER_HOUR_US
    return str(max(1, min(bucket.fixed // 2, longest)))


def _given(bound: Expr | None) -> str:
    if bound is None:
        return ""
    if not is_constant(bound):
        raise InvalidParameterValue(
            "invalid time_bucket_gapfill argument: start and finish must be simple expressions",
            hint="Use constants, parameters and now().",
        )
    return f"epoch_us({bound.sql})"


def _bounds(gaps: Gaps, block: Block, operators: tuple[str, str]) -> str:
    """The closest bound that WHERE and ON set, as µs from which on (or before which) times are."""
    column = column_of(gaps.time)
    if column is None:
        return ""
    found = []
    conjuncts = [e for c in block.conditions if c.only is None for e in _flat(c.expr)]
    for expr in conjuncts:
        for side, operator, other in both_sides(expr):
            if operator in operators and column_of(side) == column and is_constant(other):
                found.append(f"epoch_us({other.sql}){' + 1' if operator in ('>', '<=') else ''}")
    if not found:
        return ""
    return f"{'greatest' if operators[0] == '>' else 'least'}({', '.join(found)})"


def _flat(expr: Expr) -> list[Expr]:
    return [e for arg in expr.args for e in _flat(arg)] if expr.op == "and" else [expr]
