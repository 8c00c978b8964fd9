"""Binds a SELECT that chooses rows, and shows nothing but their columns, for the answer without DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tsdb.model.schema import Role
from tsdb.sql.expressions.choice import Choice, SortKey
from tsdb.sql.expressions.expression import Expr
from tsdb.sql.expressions.grouping import AggregateCall, Ordering
from tsdb.sql.newest.needs import Need
from tsdb.sql.newest.path import Path, Unfit
from tsdb.sql.newest.plan import FirstRows
from tsdb.sql.plan import column_of

# Types whose values go to the client as they come from a scan.
_TYPES = frozenset(
    ("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "date", "timestamp", "timestamptz")
)
_SORTED = frozenset(("int2", "int4", "int8", "float4", "float8", "text", "varchar", "date", "timestamptz"))


def first_rows(choice: Choice, path: Path, need: Need) -> FirstRows:
    """Raises Unfit."""
    if choice.having is not None or not choice.targets:
        raise Unfit
    binding = _Binding(path)
    outputs = tuple(binding.place(target) for target in choice.targets)
    order = tuple(binding.ordering(key) for key in choice.order)
    by: Sequence[Expr] | None = None
    within: tuple[Ordering, ...] = ()
    if choice.on is not None:
        by = choice.on
        grouped = {each.sql for each in by}
        within = tuple(made for key, made in zip(choice.order, order, strict=True) if key.expr.sql not in grouped)
    elif choice.grouped:
        by = choice.groups
        within = tuple(Ordering(place, not need.oldest, nulls_first=False) for place in sorted(binding.deciding))
    elif choice.distinct:
        by = choice.targets
    places = None if by is None else tuple(binding.tag(each) for each in by)
    always = choice.grouped and not choice.groups
    return FirstRows(outputs, places, within, order, choice.limit, choice.offset, always)


class _Binding:
    """Expressions to places in the scan's columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # The columns of time that aggregates go by.
        self.deciding: set[int] = set()

    def place(self, expr: Expr) -> int:
        """Of a column, or of the column that an aggregate shows."""
        call = expr.value
        if expr.op == "aggregate" and isinstance(call, AggregateCall):
            self.deciding.add(self._column(self._path.resolve(expr.args[-1]), _TYPES))
            expr = expr.args[0]
        return self._column(self._path.resolve(expr), _TYPES)

    def ordering(self, key: SortKey) -> Ordering:
        if key.expr.type.typname not in _SORTED:
            raise Unfit
        return Ordering(self.place(key.expr), key.descending, key.nulls_first)

    def tag(self, expr: Expr) -> int:
        resolved = self._path.resolve(expr)
        if self._path.tag(resolved) is None:
            raise Unfit
        return self._column(resolved, frozenset(("text", "varchar")))

    def _column(self, expr: Expr, types: Iterable[str]) -> int:
        reference = column_of(expr)
        if reference is None or not self._path.is_own(expr) or expr.type.typname not in types:
            raise Unfit
        column = reference.relation.columns[reference.index]
        key, stored = column.key, column.series_column
        timestamp = stored is not None and stored.role is Role.TIME and expr.type.typname != "timestamptz"
        if key is None or key not in self._path.scan.columns or timestamp or column.type != expr.type:
            raise Unfit
        return self._path.scan.columns.index(key)
