"""Random SELECTs of expressions whose answers a PostgreSQL knows: one seed, one statement.

Only what is the same in both by rule is drawn: the listed differences of ``docs/sql.md`` are left out.
"""

from __future__ import annotations

import random

INTS = ("0", "1", "-1", "7", "42", "-13", "2147483647", "NULL::int", "n")
NUMERICS = ("0.0", "1.5", "-2.25", "100.00", "0.001", "12345.678", "NULL::numeric", "m")
FLOATS = ("0::float8", "1.5::float8", "-2.5::float8", "1e10::float8", "1e-5::float8", "NULL::float8", "d")
TEXTS = ("''", "'a'", "'Hello World'", "'a,b,c'", "'it''s'", "'%_x'", "'a-b c'", "NULL::text", "s")
DATES = ("date '2024-02-29'", "date '1969-12-31'", "date '2000-01-01'", "NULL::date", "t::date")
TIMES = ("timestamp '2024-02-29 12:34:56.789'", "timestamp '1999-12-31 23:59:59'", "NULL::timestamp", "t")
INTERVALS = ("interval '1 day'", "interval '-2 hours'", "interval '1 year 2 months 3 days 04:05:06'", "NULL::interval")
FIELDS = ("year", "month", "day", "hour", "minute", "second", "dow", "doy", "week", "quarter", "epoch")
UNITS = ("hour", "day", "week", "month", "quarter", "year")
SOURCE = (
    "FROM (VALUES (1, 2.50, 1.5::float8, 'abc', timestamp '2024-05-06 07:08:09'), "
    "(2, -0.125, -1e3::float8, 'x y', timestamp '2023-12-31 00:00'), (NULL, NULL, NULL, NULL, NULL)) "
    "AS v(n, m, d, s, t)"
)


class Writer:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def _pick(self, *options: str) -> str:
        return self._chance.choice(options)

    def integer(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*INTS)
        a, b = self.integer(depth - 1), self.integer(depth - 1)
        return self._pick(
            f"({a} % 1000 + {b} % 1000)", f"({a} % 1000 * ({b} % 100))", f"({a} / nullif({b}, 0))",
            f"({a} % nullif({b}, 0))", f"abs({a} % 1000)", f"length({self.text(depth - 1)})", f"coalesce({a}, {b})",
            f"greatest({a}, {b})", f"sign({self.floating(0)})::int", f"({a} & {b})", f"nullif({a}, {b})",
            f"CASE WHEN {self.boolean(depth - 1)} THEN {a} ELSE {b} END", f"position('b' in {self.text(depth - 1)})",
            f"({self.date(depth - 1)} - {self.date(0)})", f"array_length(array[{a}, {b}], 1)",
        )  # fmt: skip

    def numeric(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*NUMERICS)
        a, b = self.numeric(depth - 1), self.numeric(0)
        return self._pick(
            f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} / nullif({b}, 0))", f"round({a}, 2)", f"abs({a})",
            f"trunc({a})", f"ceil({a})", f"floor({a})", f"-({a})", f"({self.integer(depth - 1)})::numeric",
            f"extract({self._pick(*FIELDS)} from {self.time(depth - 1)})", f"coalesce({a}, {b})",
            f"CASE WHEN {self.boolean(0)} THEN {a} ELSE {b} END",
        )  # fmt: skip

    def floating(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*FLOATS)
        a, b = self.floating(depth - 1), self.floating(0)
        return self._pick(
            f"({a} + {b})", f"({a} * {b})", f"({a} / nullif({b}, 0))", f"abs({a})", f"floor({a})", f"round({a})",
            f"sqrt(abs({a}))", f"({self.integer(depth - 1)})::float8", f"({self.numeric(0)})::float8", f"-({a})",
        )  # fmt: skip

    def text(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*TEXTS)
        a, b = self.text(depth - 1), self.text(0)
        return self._pick(
            f"upper({a})", f"lower({a})", f"({a} || {b})", f"substring({a} from 2 for 3)", f"replace({a}, 'a', 'zz')",
            f"lpad({a}, 6, '*')", f"reverse({a})", f"left({a}, -1)", f"coalesce({a}, {b})", f"split_part({a}, ',', 2)",
            f"({self.integer(depth - 1)})::text", f"({self.numeric(depth - 1)})::text", f"md5({a})", f"trim({a})",
            f"quote_literal({a})", f"initcap({a})", f"format('%s-%L', {a}, {b})", f"concat_ws('/', {a}, {b})",
            f"to_char({self.numeric(0)}, 'FM99990.00')", f"to_char({self.time(0)}, 'YYYY-MM-DD HH24:MI:SS.MS Dy')",
            f"({self.interval(depth - 1)})::text", f"regexp_replace({a}, '[a-c]', '<\\&>', 'g')",
            f"array_to_string(string_to_array({a}, ','), '+')", f"({self.boolean(0)})::text",
        )  # fmt: skip

    def date(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*DATES)
        return self._pick(f"({self.date(depth - 1)} + 1)", f"({self.date(depth - 1)} - 40)", f"({self.time(0)})::date")

    def time(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*TIMES)
        a = self.time(depth - 1)
        return self._pick(
            f"({a} + {self.interval(0)})", f"({a} - {self.interval(0)})", f"date_trunc('{self._pick(*UNITS)}', {a})",
            f"({self.date(0)})::timestamp", f"least({a}, {self.time(0)})",
        )  # fmt: skip

    def interval(self, depth: int) -> str:
        if depth <= 0:
            return self._pick(*INTERVALS)
        return self._pick(
            f"({self.time(0)} - {self.time(0)})", f"({self.interval(0)} + {self.interval(0)})",
            f"(-{self.interval(0)})",
            f"({self.interval(0)} * 2)", f"age({self.time(0)}, {self.time(0)})", f"justify_days({self.interval(0)})",
        )  # fmt: skip

    def boolean(self, depth: int) -> str:
        if depth <= 0:
            return self._pick("true", "false", "NULL::bool", "n > 1", "s LIKE 'a%'")
        sort = self._pick("integer", "numeric", "floating", "text", "date", "time", "interval")
        make = getattr(self, sort)
        a, b = make(depth - 1), make(0)
        return self._pick(
            f"({a} = {b})", f"({a} < {b})", f"({a} >= {b})", f"({a} IS NULL)", f"({a} IS DISTINCT FROM {b})",
            f"({a} IN ({b}, {make(0)}))", f"NOT ({self.boolean(depth - 1)})", f"({a} BETWEEN {b} AND {make(0)})",
            f"({self.boolean(depth - 1)} AND {self.boolean(0)})", f"({self.boolean(depth - 1)} OR {self.boolean(0)})",
            f"({self.text(0)} ~ '[a-h]')", f"({a} = ANY (array[{b}, {make(0)}]))",
        )  # fmt: skip

    def statement(self) -> str:
        sorts = ("integer", "numeric", "floating", "text", "date", "time", "interval", "boolean")
        depth = self._chance.randrange(1, 4)
        listed = [getattr(self, self._chance.choice(sorts))(depth) for _ in range(3)]
        if self._chance.random() < 0.3:
            aggregate = self._chance.choice(("count", "min", "max"))
            make = getattr(self, self._chance.choice(("integer", "text", "time")))
            # A quotient has 16 digits where it is computed with: a sum of quotients is a listed difference.
            total = self._chance.choice((self.integer(1), f"({self.numeric(0)} * {self.numeric(0)})"))
            return f"SELECT {aggregate}({make(1)}), sum({total}), avg({total}) {SOURCE}"
        return f"SELECT {', '.join(listed)} {SOURCE}"


def statement(seed: int) -> str:
    return Writer(random.Random(seed)).statement()
