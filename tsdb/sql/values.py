"""Values at run time: parameters and now() in DuckDB's text, and the constants that rules prune by."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tsdb.errors import ProtocolViolation, TsdbError
from tsdb.sql import literal
from tsdb.sql.context import Context
from tsdb.sql.datetime_text import INFINITY, US_PER_DAY, local_of_utc, utc_of_local
from tsdb.sql.expressions.expression import Expr, Parameter
from tsdb.sql.intervals import Interval
from tsdb.sql.plan import Undecided
from tsdb.types import REFERENCES, TEXT, TIMESTAMPTZ

_MARKER = re.compile("\x01(now|catalog|shown)?([0-9]*)\x02")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReadValues(tuple[object | None, ...]):
    """Parameters' values in ``literal``'s form: they were read already."""


class RunValues:
    """The values of one run. Called with a constant expression it gives its value, or raises Undecided.

    ``compute`` asks DuckDB for a timestamptz that is worth a query of its own. ``glance`` is the token by which the
    catalog's functions know the statement.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        given: Sequence[object | None],
        context: Context,
        compute: Callable[[str], int | None] | None = None,
        glance: int = 0,
    ) -> None:
        if len(given) != len(parameters):
            raise ProtocolViolation(
                f"bind message supplies {len(given)} parameters, but prepared statement requires {len(parameters)}"
            )
        self.context = context
        self._compute = compute
        self._glance = glance
        self._types = [p.type or TEXT for p in parameters]
        self._values = (
            given
            if isinstance(given, ReadValues)
            else ReadValues(literal.of_python(t, value, context) for t, value in zip(self._types, given, strict=True))
        )

    @property
    def given(self) -> ReadValues:
        """The parameters' values, in ``literal``'s form."""
        return self._values

    def fill(self, sql: str) -> str:
        """DuckDB's text with values in place of markers."""
        return _MARKER.sub(self._text, sql) if "\x01" in sql else sql

    def _text(self, found: re.Match[str]) -> str:
        if found[1] == "now":
            return literal.render(TIMESTAMPTZ, self.context.now_us)
        if found[1] == "catalog":
            return str(self._glance)
        index = int(found[2])
        if found[1] == "shown":
            value = self._values[index]
            return literal.quote(f"{value:f}") if isinstance(value, Decimal) else "CAST(NULL AS VARCHAR)"
        if self._types[index] in REFERENCES and isinstance(self._values[index], str):
            # A name where an OID is wanted.
            return self.fill(literal.reference(self._types[index], str(self._values[index])))
        text = literal.render(self._types[index], self._values[index])
        return f"CAST({text} AS DECIMAL(38,10))" if self._types[index].typname == "numeric" else text

    def __call__(self, expr: Expr) -> object:
        if expr.op == "literal":
            return expr.value
        if expr.op == "parameter":
            assert isinstance(expr.value, Parameter)
            return self._values[expr.value.index]
        if expr.op == "now":
            return self.context.now_us
        if expr.op == "array":
            return [self(item) for item in expr.args]
        try:
            return self._folded(expr)
        except Undecided:
            if expr.type.typname != "timestamptz" or self._compute is None:
                raise
            try:
                return self._compute(self.fill(f"epoch_us({expr.sql})"))
            except TsdbError:
                # The statement itself will meet the error, or will not: it may never evaluate this.
                raise Undecided from None

    def _folded(self, expr: Expr) -> object:
        kind, args = expr.type.typname, expr.args
        if expr.op in ("+", "-") and kind == "timestamptz" and len(args) == 2:
            return self._shifted(expr)
        if expr.op == "cast" and len(args) == 1:
            return self._cast(args[0], kind)
        raise Undecided

    def _shifted(self, expr: Expr) -> int | None:
        left, right = (self(a) for a in expr.args)
        if isinstance(left, Interval):
            left, right = right, left
        if left is None or right is None:
            return None
        if not isinstance(left, int) or not isinstance(right, Interval) or right.months or abs(left) >= INFINITY:
            raise Undecided
        sign = 1 if expr.op == "+" else -1
        if right.days:
            # Days are days of the session's calendar.
            zone = self.context.zone
            left = utc_of_local(local_of_utc(left, zone) + sign * right.days * US_PER_DAY, zone)
        return left + sign * right.microseconds

    def _cast(self, inner: Expr, kind: str) -> object:
        value, source = self(inner), inner.type.typname
        if value is None:
            return None
        zone = self.context.zone
        if source == kind:
            return value
        if isinstance(value, int) and abs(value) < INFINITY:
            if (source, kind) == ("date", "timestamptz"):
                return utc_of_local(value * US_PER_DAY, zone)
            if (source, kind) == ("timestamp", "timestamptz"):
                return utc_of_local(value, zone)
            if (source, kind) == ("timestamptz", "date"):
                return local_of_utc(value, zone) // US_PER_DAY
            if (source, kind) == ("timestamptz", "timestamp"):
                return local_of_utc(value, zone)
            if source in ("int2", "int4", "int8") and kind in ("int2", "int4", "int8"):
                return value
            if source in ("int2", "int4", "int8") and kind == "float8":
                return float(value)
        raise Undecided


def moment(us: int) -> str:
    """An instant for EXPLAIN."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat()
    except OverflowError:
        return f"{us} µs"
