"""Random SELECTs over the sample series, in the words that PostgreSQL's dialect and DuckDB's share."""

from __future__ import annotations

import random

_NUMBERS = ("usage", "n", "small")
_TIMES = (
    "2026-01-01 00:10:00+00", "2026-01-01 00:30:00+00", "2026-01-01 01:00:00+00", "2026-01-01 01:45:00+00",
    "1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "1969-12-31 23:55:00+00",
    "1970-01-01 00:00:00.000001+00", "0001-01-01 00:00:00+00", "9999-12-31 00:00:00+00",
    "2300-01-01 00:00:00+00", "infinity", "-infinity",
)  # fmt: skip


class Statements:
    """``one()`` is the next statement; its rows have a total order or are compared as a bag."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def one(self) -> str:
        return self._chance.choice(
            (self._plain, self._grouped, self._bucketed, self._joined, self._windowed, self._distinct_on, self._nested)
        )()

    def _where(self, prefix: str = "") -> str:
        if self._chance.random() < 0.1:
            return ""
        return " WHERE " + self._condition(prefix, 2)

    def _condition(self, prefix: str, depth: int) -> str:
        chance = self._chance
        if depth and chance.random() < 0.5:
            parts = [self._condition(prefix, depth - 1) for _ in range(chance.randrange(2, 4))]
            joined = f" {chance.choice(('AND', 'AND', 'OR'))} ".join(parts)
            return f"NOT ({joined})" if chance.random() < 0.1 else f"({joined})"
        return chance.choice((self._on_time, self._on_time, self._on_tag, self._on_tag, self._on_field))(prefix)

    def _on_time(self, prefix: str) -> str:
        chance = self._chance
        column, time = f"{prefix}time", chance.choice(_TIMES)
        kind = chance.randrange(6)
        if kind == 0:
            return f"{column} BETWEEN '{time}' AND '{chance.choice(_TIMES)}'"
        if kind == 1:
            return f"'{time}' {chance.choice(('<', '<=', '>', '>=', '='))} {column}"
        if kind == 2:
            return f"{column} IN ('{time}', '{chance.choice(_TIMES)}')"
        if kind == 3:
            finite = chance.choice(_TIMES[:8])
            width = chance.choice(("1 hour", "1 day", "90 minutes", "1 month"))
            return f"{column} > timestamptz '{finite}' {chance.choice('+-')} interval '{width}'"
        if kind == 4 and not prefix:
            return f"time_ns {chance.choice(('<', '>=', '>'))} {chance.choice((-1, -1000, 0, 1767225600000000001))}"
        return f"{column} {chance.choice(('<', '<=', '>', '>=', '=', '<>'))} '{time}'"

    def _on_tag(self, prefix: str) -> str:
        chance = self._chance
        tag = prefix + ("host" if prefix else chance.choice(("host", "region")))
        value = chance.choice(("host_1", "host_2", "host_5", "eu", "", "a_b", "nobody"))
        pattern = chance.choice(("host_%", "%1", "h_st_2", "a\\_b", "100\\%", "%", ""))
        return chance.choice((
            f"{tag} = '{value}'", f"{tag} <> '{value}'", f"{tag} IN ('{value}', 'host_3')",
            f"{tag} NOT IN ('{value}', 'us')", f"{tag} IS NULL", f"{tag} IS NOT NULL", f"{tag} > '{value}'",
            f"{tag} = ANY(ARRAY['{value}', 'host_4'])", f"'{value}' >= {tag}", f"{tag} LIKE '{pattern}' ESCAPE '\\'",
            f"{tag} NOT LIKE '{pattern}' ESCAPE '\\'", f"regexp_like({tag}, '^host_[12]$')",
            f"NOT ({tag} = '{value}')", f"({tag} = '{value}' OR {tag} IS NULL)", f"lower({tag}) = '{value}'",
        ))  # fmt: skip

    def _on_field(self, prefix: str) -> str:
        chance = self._chance
        column = f"{prefix}used" if prefix == "m." else prefix + chance.choice(_NUMBERS)
        return chance.choice((
            f"{column} > {chance.randrange(60)}", f"{column} <= {chance.randrange(60)}",
            f"{column} = {chance.randrange(20)}", f"{column} IS NULL", f"{column} BETWEEN 5 AND 20",
            f"{column} > 20.5", f"{chance.randrange(60)} < {column}",
        ))  # fmt: skip

    def _plain(self) -> str:
        limit = f" LIMIT {self._chance.randrange(0, 30)}" if self._chance.random() < 0.5 else ""
        return (
            f"SELECT time_ns, time, host, region, usage, n FROM cpu{self._where()} "
            f"ORDER BY time_ns NULLS LAST, sequence{limit}"
        )

    def _grouped(self) -> str:
        number = self._chance.choice(_NUMBERS)
        having = f" HAVING count(*) > {self._chance.randrange(10)}" if self._chance.random() < 0.3 else ""
        return (
            f"SELECT host, count(*), count({number}), min({number}), max({number}), sum(n), sum(small), "
            f"max(time) FILTER (WHERE ok) FROM cpu{self._where()} GROUP BY host{having}"
        )

    def _bucketed(self) -> str:
        width = self._chance.choice(("5 minutes", "1 hour", "17 seconds", "1 day"))
        return (
            f"SELECT time_bucket(INTERVAL '{width}', time) AS t, region, count(*), min(usage), max(n) FROM cpu"
            f"{self._where()} GROUP BY 1, 2"
        )

    def _joined(self) -> str:
        side = self._chance.choice(("", "LEFT ", "RIGHT ", "FULL "))
        on = self._condition("m.", 1)
        return (
            f"SELECT c.host, m.host, count(*), sum(m.used), max(c.time) FROM cpu AS c {side}JOIN mem AS m "
            f"ON c.host = m.host AND c.time = m.time AND {on}{self._where('c.')} GROUP BY c.host, m.host"
        )

    def _windowed(self) -> str:
        frame = self._chance.choice(("", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS UNBOUNDED PRECEDING"))
        return (
            "SELECT host, time_ns, row_number() OVER (PARTITION BY host ORDER BY time_ns, sequence), "
            "lag(n) OVER (PARTITION BY host ORDER BY time_ns, sequence), "
            f"count(n) OVER (PARTITION BY region ORDER BY time_ns, sequence{frame}) FROM cpu{self._where()}"
        )

    def _distinct_on(self) -> str:
        """The last keys decide among all rows, so that every engine keeps the same one."""
        chance = self._chance
        on, key = chance.choice((("host", "host"), ("region, ok", "region, ok"), ("lower(host)", "lower(host)")))
        keys = [
            f"{chance.choice(('usage', 'n', 'small', 'region', 'time_ns'))} {chance.choice(('ASC', 'DESC'))} "
            f"NULLS {chance.choice(('FIRST', 'LAST'))}"
            for _ in range(chance.randrange(3))
        ]
        last = chance.choice(("time_ns DESC NULLS FIRST, sequence DESC", "time_ns, sequence", "sequence, time_ns DESC"))
        listed = chance.choice((f"{on}, time_ns, usage", "n, note", "time_ns, sequence"))
        return f"SELECT DISTINCT ON ({on}) {listed} FROM cpu{self._where()} ORDER BY {', '.join((key, *keys, last))}"

    def _nested(self) -> str:
        inner = self._chance.choice((
            "SELECT time, host, n, usage, small FROM cpu",
            f"SELECT time, host, n, usage, small FROM cpu{self._where()}",
            "SELECT time, host, n, usage, small FROM cpu ORDER BY time_ns, sequence LIMIT 40",
            "SELECT max(time) AS time, host, sum(n) AS n, max(usage) AS usage, 1 AS small FROM cpu GROUP BY host",
        ))  # fmt: skip
        outer = self._condition("q.", 1)
        twice = self._chance.random() < 0.3
        if twice:
            return f"WITH q AS ({inner}) SELECT count(*), max(q.n) FROM q, (SELECT * FROM q) AS p WHERE {outer}"
        return f"SELECT q.host, count(*), max(q.n), min(q.time) FROM ({inner}) AS q WHERE {outer} GROUP BY q.host"
