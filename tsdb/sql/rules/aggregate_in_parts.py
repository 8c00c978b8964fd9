"""An aggregate over one series with more around it, over partial aggregates from kernels.

Where expressions are made of aggregates (``max(a) - min(a)``), groups of tags (``upper(host)``) or wide buckets of
finer ones (months of days), where time_bucket_gapfill fills them or another query reads them, the rows that DuckDB
groups need not be points. Kernels make one row for each bucket of time and combination of tags, with partial aggregates
of its points; in DuckDB's text each aggregate becomes one over those, and WHERE, which the scan has decided, goes::

    SELECT r1.c1, (max(r1.c2) - count(*)) FROM t1 AS r1 WHERE … GROUP BY (r1.c1)
    SELECT r1.c1, (max(r1.a1) - CAST(coalesce(sum(r1.a2), 0) AS BIGINT)) FROM t1 AS r1 GROUP BY (r1.c1)

Right if all keys and all else that is read of the rows are the same for the points of one such row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tsdb.model.schema import Column, Role
from tsdb.model.store import TIME
from tsdb.sql.aggregation.plan import Aggregate, Partial, ScanAggregate, TagKey
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import AggregateCall
from tsdb.sql.plan import Plan, PlannedScan
from tsdb.sql.rules.exact import is_exact
from tsdb.sql.rules.select_text import SelectText, outside_literals, select_of, without_literals
from tsdb.sql.rules.time_keys import finer_key
from tsdb.types import FLOAT8, INT8, TEXT, TIMESTAMPTZ, Kind, SqlType

_FUNCTIONS = ("count", "sum", "avg", "min", "max")
# As DuckDB's text has them, with the time that decides.
_ENDS = {"arg_min_null": ("first", "min"), "arg_max_null": ("last", "max")}
_INTEGERS = ("int2", "int4", "int8")


class _Unfit(Exception):
    """DuckDB reads the points."""


def aggregate_in_parts(plan: Plan) -> Plan:
    if plan.aggregate is not None or len(plan.scans) != 1 or len(plan.sources) != 1:
        return plan
    scan = plan.scans[0]
    block = next((b for b in plan.blocks if b.relations == [scan.relation]), None)
    if block is None or block.grouped is None or scan.newest is not None or scan.source.part is not None:
        return plan
    if len(scan.conditions) != len(block.conditions) or not all(map(is_exact, scan.conditions)):
        return plan
    text = select_of(plan.sql, f" FROM {scan.source.name} AS {scan.relation.alias}")
    if text is None:
        return plan
    try:
        partial = _Parts(scan).made(block.grouped.keys, block.grouped.targets, text)
    except _Unfit:
        return plan
    return replace(plan, partial=partial, rules=(*plan.rules, "aggregate_in_parts"))


class _Parts:
    """The partial aggregates of one scan as they are found."""

    def __init__(self, scan: PlannedScan) -> None:
        self._scan = scan
        self._alias = scan.relation.alias
        self._aggregates: list[Aggregate] = []
        self._types: list[SqlType] = []

    def made(self, keys: Sequence[Expr], targets: Sequence[Expr], text: SelectText) -> Partial:
        for target in (*keys, *targets):
            _check(target)
        times = {key.sql: found for key in keys if (found := finer_key(key)) is not None}
        if len(set(times.values())) > 1:
            raise _Unfit
        call = re.compile(rf"\b(\w+)\((?:{self._alias}\.c(\d+)(?:, {self._alias}\.c(\d+))?|(\*))\)")
        head, tail = (outside_literals(part, lambda t: call.sub(self._replaced, t)) for part in (text.head, text.tail))
        tags = self._tags_read(head + tail, tuple(times))
        origin = f" FROM {self._scan.source.name} AS {self._alias}"
        time = next(iter(times.values()), None)
        outputs = [("time", 0)] if time is not None else []
        outputs += [("tag", i) for i in range(len(tags))] + [("aggregate", i) for i in range(len(self._aggregates))]
        columns = self._scan.columns
        names = [f"c{columns.index(TIME) + 1}"] if time is not None else []
        names += [f"c{columns.index(number) + 1}" for number in tags]
        names += [f"a{i + 1}" for i in range(len(self._aggregates))]
        types = [TIMESTAMPTZ] if time is not None else []
        types += [TEXT] * len(tags) + self._types
        # Without points there are no rows: what one row of nothing is, DuckDB says.
        aggregate = ScanAggregate(
            time, tuple(map(TagKey, tags)), tuple(self._aggregates), tuple(outputs), tuple(types), (), None, True, False
        )
        sql = f"{text.before}{head}{origin}{tail}{text.after}"
        return Partial(aggregate, sql, self._scan.source.name, tuple(names))

    def _replaced(self, call: re.Match[str]) -> str:
        """The same aggregate over partial ones; other functions, and windows over the groups, stay and must be of tags.
        Raises _Unfit."""
        function, place, decides, everything = call.groups()
        rest = call.string[call.end() :]
        if function not in (_ENDS if decides else _FUNCTIONS) or rest.startswith(" OVER ("):
            return call[0]
        if rest.startswith(" FILTER ("):
            raise _Unfit
        if everything:
            return self._count(Aggregate("count", None))
        if decides:
            return self._end(function, int(place), int(decides))
        if self._is_time(int(place)):
            return self._of_times(function)
        column, floating = self._number(int(place))
        number = column.number
        match function:
            case "count":
                return self._count(Aggregate("count", number, floating))
            case "sum":
                return f"sum({self._name(Aggregate('sum', number, floating), FLOAT8 if floating else INT8)})"
            case "avg" if floating:
                total = self._name(Aggregate("sum", number, True), FLOAT8)
                count = self._name(Aggregate("count", number, True), INT8)
                return f"(sum({total}) / nullif(sum({count}), 0))"
            case "min" | "max":
                return f"{function}({self._name(Aggregate(function, number, floating), column.type)})"
            case _:
                raise _Unfit

    def _end(self, function: str, place: int, decides: int) -> str:
        """The first or last value in the order of time: that of the part with the first or last time."""
        if not self._is_time(decides):
            raise _Unfit
        column, floating = self._number(place)
        end, extreme = _ENDS[function]
        value = self._name(Aggregate(end, column.number, floating), column.type)
        return f"{function}({value}, {self._name(Aggregate(extreme, None), TIMESTAMPTZ)})"

    def _of_times(self, function: str) -> str:
        if function == "count":
            return self._count(Aggregate("count", None))
        if function not in ("min", "max"):
            raise _Unfit
        return f"{function}({self._name(Aggregate(function, None), TIMESTAMPTZ)})"

    def _is_time(self, place: int) -> bool:
        """Whether a column of the scan is its time, as a timestamptz."""
        columns = self._scan.relation.columns
        return self._scan.columns[place - 1] == TIME and all(
            column.type.typname == TIMESTAMPTZ.typname for column in columns if column.key == TIME
        )

    def _number(self, place: int) -> tuple[Column, bool]:
        """A field of numbers, and whether it is stored as float8. Raises _Unfit for another column."""
        column = self._column(place)
        integer = column.kind is Kind.INT8 and column.type.typname in _INTEGERS
        floating = column.kind is Kind.FLOAT8 and column.type.typname == "float8"
        if column.role is not Role.FIELD or (not integer and not floating):
            raise _Unfit
        return column, floating

    def _count(self, aggregate: Aggregate) -> str:
        return f"CAST(coalesce(sum({self._name(aggregate, INT8)}), 0) AS BIGINT)"

    def _name(self, aggregate: Aggregate, result: SqlType) -> str:
        if aggregate not in self._aggregates:
            self._aggregates.append(aggregate)
            self._types.append(result)
        return f"{self._alias}.a{self._aggregates.index(aggregate) + 1}"

    def _column(self, place: int) -> Column:
        key = self._scan.columns[place - 1]
        series = self._scan.source.series
        if not isinstance(key, int) or series is None:
            raise _Unfit
        return series.by_number[key]

    def _tags_read(self, text: str, times: Sequence[str]) -> list[int]:
        """The tags that a text reads beside partial aggregates. Raises _Unfit if there is more."""
        for time in times:
            text = text.replace(time, "")
        text = without_literals(text)
        found: dict[int, None] = {}
        for reference in re.findall(rf"\b{self._alias}\.(\w+|\*)", text):
            if reference[0] == "a":
                continue
            column = self._column(int(reference[1:])) if re.fullmatch(r"c\d+", reference) else None
            if column is None or column.role is not Role.TAG or column.type.typname not in ("text", "varchar"):
                raise _Unfit
            found[column.number] = None
        return list(found)


def _check(target: Expr) -> None:
    """Raises _Unfit where an expression's aggregates are not plain ones of fields."""
    for each in target.walk():
        if each.op in ("subquery", "set"):
            raise _Unfit
        if each.op == "aggregate":
            call = each.value
            if not isinstance(call, AggregateCall):
                raise _Unfit
            ends = call.name in ("first", "last") and len(each.args) == 2
            fields = len(each.args) == 1 or (not each.args and call.name == "count")
            if not ends and (call.name not in _FUNCTIONS or not fields):
                raise _Unfit
            if any(arg.op != "column" for arg in each.args):
                raise _Unfit
