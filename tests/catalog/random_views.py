"""Random queries over the tables of ``test_deparse``, as text. Many are refused by PostgreSQL too; the rest compare."""

from __future__ import annotations

import random

SCHEMA = (
    "CREATE TABLE points (time timestamptz NOT NULL, host text NOT NULL, region varchar(20), cpu float8, mem real,"
    " n bigint DEFAULT 7, i integer, s smallint, ok boolean, d date, ts timestamp, num numeric(12,3), tags jsonb,"
    " arr text[], PRIMARY KEY (time, host))",
    'CREATE TABLE things (id int PRIMARY KEY, host text, name text, "Odd" text, created timestamp DEFAULT now())',
)
_NUMBERS = ("cpu", "mem", "n", "i", "s", "num", "1", "-2", "1.5", "1e3", "5000000000")
_TEXTS = ("host", "region", "'a'", "'it''s'", "'x%'", "lower(host)", "upper(region)")
_TIMES = ("time", "ts", "d", "now()", "'2026-01-01'", "timestamptz '2026-03-01 12:00+02'", "current_date")
_TYPES = ("int", "bigint", "float8", "numeric", "numeric(8,2)", "text", "varchar(5)", "real", "smallint")


class Views:
    """``text()`` is a query, another one each time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _one(self, *items: str) -> str:
        return self._random.choice(items)

    def number(self, depth: int) -> str:
        if depth <= 0 or self._random.random() < 0.3:
            return self._one(*_NUMBERS)
        a, b = self.number(depth - 1), self.number(depth - 1)
        return self._one(
            f"{a} {self._one('+', '-', '*', '/', '%', '^')} {b}", f"({a} {self._one('+', '-', '*', '/')} {b})",
            f"-{a}", f"abs({a})", f"coalesce({a}, {b})", f"({a})::{self._one(*_TYPES)}", f"round({a}::numeric, 2)",
            f"CASE WHEN {self.truth(depth - 1)} THEN {a} ELSE {b} END", f"greatest({a}, {b})", f"nullif({a}, {b})",
            f"length({self.text_(depth - 1)})", f"CASE {a} WHEN {b} THEN 1 END",
            f"extract({self._one('epoch', 'hour', 'dow')} from {self._one(*_TIMES)})",
        )  # fmt: skip

    def text_(self, depth: int) -> str:
        if depth <= 0 or self._random.random() < 0.4:
            return self._one(*_TEXTS)
        a = self.text_(depth - 1)
        return self._one(
            f"{a} || {self.text_(depth - 1)}", f"{a} || {self.number(depth - 1)}", f"coalesce({a}, 'none')",
            f"substring({a}, 1, 3)", f"replace({a}, 'a', 'b')", f"({self.number(depth - 1)})::text",
            f"CASE WHEN {self.truth(depth - 1)} THEN {a} END", "tags->>'a'", "arr[1]", f"left({a}, 2)", "md5(host)",
            f"to_char({self._one('time', 'ts')}, 'YYYY-MM')", f"concat({a}, {self.number(0)})",
        )  # fmt: skip

    def moment(self) -> str:
        return self._one(
            *_TIMES, "time - interval '1 day 2 hours'", "date_trunc('hour', time)", "ts + interval '30 minutes'",
            "time AT TIME ZONE 'UTC'", "d + 1", "date_bin('5 minutes', time, '2001-01-01')", "time::date",
        )  # fmt: skip

    def truth(self, depth: int) -> str:
        if depth <= 0 or self._random.random() < 0.2:
            return self._one("ok", "true", "cpu > 5", "host = 'a'", "region = 'eu'", "i = n", "s < 3")
        a, b = self.truth(depth - 1), self.truth(depth - 1)
        x, y, t = self.number(depth - 1), self.number(depth - 1), self.text_(depth - 1)
        return self._one(
            f"{a} AND {b}", f"{a} OR {b}", f"({a} OR {b})", f"NOT {a}", f"NOT ({a} AND {b})",
            f"{x} {self._one('=', '<>', '<', '>=')} {y}", f"{x} BETWEEN {y} AND 10", f"{x} IN (1, 2, 3)",
            f"{t} {self._one('LIKE', 'NOT LIKE', 'ILIKE', '~', '!~*')} 'x%'", f"{t} IN ('a', 'b')",
            f"{t} NOT IN ('a', 'b')", f"{x} IS NULL", f"{t} IS NOT NULL", f"({a}) IS TRUE", f"({a}) IS NOT FALSE",
            f"{x} IS DISTINCT FROM {y}", f"{self.moment()} {self._one('<', '>=', '=')} {self.moment()}",
            "time > now() - interval '1 hour'", "EXISTS (SELECT 1 FROM things t WHERE t.host = points.host)",
            f"cpu > (SELECT max(x.cpu) FROM points x WHERE {a.replace('ok', 'x.ok')})",
            "host IN (SELECT name FROM things)",
            "'a' = ANY (arr)", "tags @> '{\"a\": 1}'", f"i = ANY (ARRAY[1, {self._one('2', 'n::int')}])",
        )  # fmt: skip

    def any_value(self, depth: int) -> str:
        return self._one(self.number(depth), self.text_(depth), self.truth(depth), self.moment())

    def _aggregate(self) -> str:
        x, t = self.number(1), self.text_(1)
        return self._one(
            f"avg({x})", f"sum({x})", "count(*)", f"count(DISTINCT {t})", f"max({t})", f"min({self.moment()})",
            f"sum({x}) FILTER (WHERE {self.truth(1)})", f"string_agg({t}, ',' ORDER BY time DESC)", "array_agg(host)",
            f"round(avg({x})::numeric, 1)", "percentile_cont(0.9) WITHIN GROUP (ORDER BY cpu)", f"stddev({x})",
        )  # fmt: skip

    def _window(self) -> str:
        call = self._one("row_number()", "rank()", "lag(cpu)", "sum(n)", "first_value(host)", f"avg({self.number(1)})")
        frame = self._one("", "", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS 3 PRECEDING")
        order = self._one("time", "cpu DESC", "i NULLS FIRST")
        return f"{call} OVER (PARTITION BY {self.text_(1)} ORDER BY {order}{frame})"

    def text(self) -> str:
        shape = self._random.random()
        where = f" WHERE {self.truth(3)}" if self._random.random() < 0.6 else ""
        if shape < 0.35:
            items = ", ".join(f"{self.any_value(3)} AS c{k}" for k in range(self._random.randint(1, 4)))
            order = self._one(
                "", " ORDER BY time DESC", f" ORDER BY {self.number(1)}, host", " ORDER BY 1 LIMIT 5 OFFSET 2"
            )
            return f"SELECT {self._one('', '', 'DISTINCT ') if not order else ''}{items} FROM points{where}{order}"
        if shape < 0.6:
            group, kind = self.text_(1), self._one("host", "1", "2, 1")
            having = f" HAVING {self._aggregate()} IS NOT NULL" if self._random.random() < 0.3 else ""
            return (
                f"SELECT {group} AS g, date_trunc('day', time) AS h, {self._aggregate()} AS a, {self._aggregate()} AS b"
                f" FROM points{where} GROUP BY 1, 2{having} ORDER BY {kind.replace('host', 'g')}"
            )
        if shape < 0.7:
            return f"SELECT host, {self._window()} AS w FROM points{where}"
        if shape < 0.8:
            join = self._one("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
            return f"SELECT p.host, t.name, {self._one('p.cpu', 't.id + p.i')} AS v FROM points p {join} things t ON p.host = t.host AND t.id > 3"  # noqa: E501
        if shape < 0.9:
            return f"WITH q AS (SELECT host, {self._aggregate()} AS a FROM points{where} GROUP BY host) SELECT q.host, q.a, t.id FROM q, things t WHERE t.host = q.host"  # noqa: E501
        word = self._one("UNION", "UNION ALL", "EXCEPT", "INTERSECT")
        return f"SELECT host, {self.number(2)} AS v FROM points {word} SELECT name, {self.number(0).replace('n', 'id')} FROM things"  # noqa: E501
