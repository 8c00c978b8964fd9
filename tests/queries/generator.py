"""Random queries as people ask them, in our words and in plain DuckDB's where these differ."""

from __future__ import annotations

import datetime as dt
from random import Random

from tests.queries.world import HOSTS, REGIONS, SPAN, START, STEP

Pair = tuple[str, str, bool]  # ours, plain DuckDB's, whether the order of rows is said


class Queries:
    """``one()`` is the next pair."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def one(self) -> Pair:
        kinds = {
            self._buckets: 6, self._groups: 3, self._whole: 2, self._rows: 4, self._newest: 4, self._last_points: 3,
            self._last_values: 3, self._newest_buckets: 3, self._join: 2, self._window: 2, self._nested: 2,
            self._distinct: 1, self._events: 2,
        }  # fmt: skip
        return self._random.choices(list(kinds), list(kinds.values()))[0]()

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _time(self) -> str:
        at: dt.datetime = START + self._random.randrange(SPAN + 20) * STEP
        if self._random.random() < 0.3:
            at = at.replace(minute=at.minute // 5 * 5, second=0)
        return at.strftime("%Y-%m-%d %H:%M:%S+00")

    def _on_time(self) -> str:
        low, high = sorted((self._time(), self._time()))
        return self._pick(
            f"time >= '{low}' AND time < '{high}'", f"time >= '{low}'", f"time < '{high}'",
            f"time BETWEEN '{low}' AND '{high}'",
        )  # fmt: skip

    def _on_tags(self) -> str:
        host, other = self._random.sample(HOSTS, 2)
        return self._pick(
            f"host = '{host}'", f"host IN ('{host}', '{other}')", f"host <> '{host}'", "region IS NULL",
            f"host = '{host}' AND region = 'eu'", "region IN ('eu', '')", f"host > '{host}'", "host LIKE 'h%'",
        )  # fmt: skip

    def _on_fields(self) -> str:
        return self._pick(
            f"f > {self._random.randrange(-100, 100)}", f"i <= {self._random.randrange(1000)}", "i IS NOT NULL", "b",
            f"i BETWEEN 10 AND {self._random.randrange(10, 1000)}", "t = 'changed'", "f > 90 OR i < 0", "f IS NULL",
        )  # fmt: skip

    def _where(self, fields: float = 0.25) -> str:
        parts = []
        if self._random.random() < 0.7:
            parts.append(self._on_time())
        if self._random.random() < 0.4:
            parts.append(self._on_tags())
        if self._random.random() < fields:
            parts.append(f"({self._on_fields()})")
        return " WHERE " + " AND ".join(parts) if parts else ""

    def _aggregates(self) -> tuple[str, str]:
        """The same list in both words."""
        known = {
            "count(*)": "count(*)", "count(f)": "count(f)", "sum(f)": "sum(f)", "sum(i)::float8": "sum(i)::float8",
            "min(f)": "min(f)", "max(i)": "max(i)", "avg(f)": "avg(f)", "avg(i)::float8": "avg(i)",
            "max(time)": "max(time)", "min(time)": "min(time)", "stddev(f)": "stddev_samp(f)",
            "var_pop(f)": "var_pop(f)", "sum(f) / count(*)": "sum(f) / count(*)", "max(f) - min(f)": "max(f) - min(f)",
            "count(*) FILTER (WHERE b)": "count(*) FILTER (WHERE b)", "bool_or(b)": "bool_or(b)",
            "count(DISTINCT t)": "count(DISTINCT t)", "sum(i + 1)::float8": "sum(i + 1)::float8", "max(t)": "max(t)",
        }  # fmt: skip
        ours = self._random.sample(list(known), self._random.choice([1, 1, 2, 4]))
        if self._random.random() < 0.6:
            ours = [each for each in ours if "FILTER" not in each and "DISTINCT" not in each] or ["count(*)"]
        return ", ".join(ours), ", ".join(known[each] for each in ours)

    def _bucket(self) -> tuple[str, str]:
        width = self._pick(
            "1 minute", "5 minutes", "15 minutes", "1 hour", "90 minutes", "2 hours", "1 day", "7 minutes"
        )
        seconds = {"minute": 60, "minutes": 60, "hour": 3600, "hours": 3600, "day": 86400}[width.split()[1]]
        seconds *= int(width.split()[0])
        bucket = f"time_bucket(INTERVAL '{width}', time)"
        unit = self._pick("minute", "hour", "day")
        choice = self._random.randrange(7)
        if choice < 3:
            return bucket.replace("INTERVAL ", "") if choice else bucket, bucket
        if choice == 3:
            return f"date_trunc('{unit}', time)", f"date_trunc('{unit}', time)"
        if choice == 4:
            epoch = f"floor(extract(epoch from time) / {seconds}) * {seconds}"
            return f"({epoch})::float8", f"floor(epoch_us(time) / {seconds}e6) * {seconds}"
        if choice == 5:
            start = "timestamptz '2000-01-01 00:00:00+00'"
            return f"date_bin('{width}', time, {start})", f"time_bucket(INTERVAL '{width}', time, {start})"
        zone = self._pick("Europe/Berlin", "Asia/Kathmandu", "America/St_Johns")
        daily = f"time_bucket('1 day', time, '{zone}')"
        return daily, f"(date_trunc('day', time AT TIME ZONE '{zone}') AT TIME ZONE '{zone}')"

    def _buckets(self) -> Pair:
        ours, plain = self._bucket()
        tags = self._pick("", "", "host", "host, region", "region")
        aggregates = self._aggregates()
        keys = f", {tags}" if tags else ""
        group = ", ".join(str(n + 1) for n in range(1 + len(tags.split(", ")) * bool(tags)))
        where = self._where()
        having = f" HAVING count(*) > {self._random.randrange(20)}" if self._random.random() < 0.2 else ""
        order = self._pick("", f" ORDER BY {group}")
        form = "SELECT {} AS bucket" + keys + ", {} FROM cpu" + where + f" GROUP BY {group}{having}{order}"
        return form.format(ours, aggregates[0]), form.format(plain, aggregates[1]), bool(order)

    def _groups(self) -> Pair:
        tags = self._pick("host", "region", "host, region", "upper(host)", "b", "t, host")
        ours, plain = self._aggregates()
        form = "SELECT " + tags + ", {} FROM cpu" + self._where() + f" GROUP BY {tags}"
        return form.format(ours), form.format(plain), False

    def _whole(self) -> Pair:
        ours, plain = self._aggregates()
        form = "SELECT {} FROM cpu" + self._where()
        return form.format(ours), form.format(plain), True

    def _rows(self) -> Pair:
        columns = self._pick("*", "time, host, region, f", "i, t", "host, f * 2, b", "time")
        text = f"SELECT {columns} FROM cpu{self._where(0.7)}"
        if self._random.random() < 0.4:
            text += f" ORDER BY time {self._pick('', 'DESC')}, host, region NULLS LAST"
            if self._random.random() < 0.6:
                text += f" LIMIT {self._random.randrange(40)} OFFSET {self._random.choice([0, 0, 5])}"
            return text, text, True
        return text, text, False

    def _newest(self) -> Pair:
        # A series of one host has one row a time, but for changes of region: then which one is newer is not said.
        host = self._random.choice(HOSTS)
        region = REGIONS[int(host[1:]) % len(REGIONS)]
        where = f" WHERE host = '{host}' AND region " + ("IS NULL" if region is None else f"= '{region}'")
        where += f" AND {self._on_time()}" if self._random.random() < 0.5 else ""
        where += f" AND ({self._on_fields()})" if self._random.random() < 0.4 else ""
        direction, limit = self._pick("DESC", "DESC", "ASC"), self._random.choice([1, 3, 50])
        text = f"SELECT * FROM cpu{where} ORDER BY time {direction} LIMIT {limit}"
        return text, text, True

    def _last_points(self) -> Pair:
        where = self._where(0.2)
        text = (
            f"SELECT DISTINCT ON (host, region) * FROM cpu{where} ORDER BY host, region, time {self._pick('DESC', '')}"
        )
        if self._random.random() < 0.3:
            text = (
                "SELECT h.host, l.time, l.i FROM (SELECT DISTINCT host FROM mem) AS h, LATERAL "
                "(SELECT time, host, free AS i FROM mem WHERE mem.host = h.host ORDER BY time DESC LIMIT 1) AS l"
            )
        return text, text.replace("ORDER BY host, region,", "ORDER BY host NULLS LAST, region NULLS LAST,"), False

    def _last_values(self) -> Pair:
        which, field = self._pick("last", "first"), self._pick("f", "i", "t", "b")
        known = {"last": "arg_max_null", "first": "arg_min_null"}[which]
        where = self._where()
        form = f"SELECT host, region, {{}}({field}, time), max(time) FROM cpu{where} GROUP BY host, region"
        return form.format(which), form.format(known), False

    def _newest_buckets(self) -> Pair:
        ours, plain = self._aggregates()
        width = self._pick("1 minute", "5 minutes", "1 hour")
        direction, limit = self._pick("DESC", "DESC", ""), self._random.choice([1, 5, 12])
        form = f"SELECT time_bucket(INTERVAL '{width}', time) AS bucket, {{}} FROM cpu{self._where()} GROUP BY bucket "
        form += f"ORDER BY bucket {direction} LIMIT {limit}"
        return form.format(ours), form.format(plain), True

    def _join(self) -> Pair:
        side = self._pick("", "LEFT ", "FULL ")
        text = (
            f"SELECT c.host, count(*), sum(m.used), max(c.f) FROM (SELECT * FROM cpu{self._where()}) AS c "
            f"{side}JOIN (SELECT * FROM mem WHERE {self._on_time()}) AS m ON c.host = m.host AND c.time = m.time "
            "GROUP BY c.host"
        )
        return text, text, False

    def _window(self) -> Pair:
        function = self._pick("lag(i)", "row_number()", "sum(f)", "max(i)", "first_value(t)")
        window = f"{function} OVER (PARTITION BY host, region ORDER BY time)"
        text = f"SELECT time, host, region, {window} FROM cpu{self._where()}"
        return text, text, False

    def _nested(self) -> Pair:
        bucket = "time_bucket(INTERVAL '10 minutes', time) AS bucket"
        inner = f"SELECT {bucket}, host, sum(f) AS s FROM cpu{self._where()} GROUP BY 1, 2"
        text = self._pick(
            f"SELECT bucket, max(s), count(*) FROM ({inner}) AS q GROUP BY bucket",
            f"WITH q AS ({inner}) SELECT a.host, count(*) FROM q AS a JOIN q AS b "
            "ON a.bucket = b.bucket AND a.s <= b.s GROUP BY 1",
            f"SELECT count(*) FROM cpu WHERE host IN (SELECT host FROM mem WHERE {self._on_time()}) "
            f"AND {self._on_time()}",
            f"SELECT host, i FROM cpu WHERE time = (SELECT max(time) FROM cpu WHERE {self._on_time()})",
            f"SELECT c.host, c.time FROM cpu AS c WHERE NOT EXISTS (SELECT 1 FROM mem AS m WHERE m.host = c.host "
            f"AND m.time = c.time) AND c.i > {self._random.randrange(1000)}",
        )  # fmt: skip
        return text, text, False

    def _distinct(self) -> Pair:
        text = f"SELECT DISTINCT {self._pick('host', 'region', 'host, region', 't', 'host, b')} FROM cpu{self._where()}"
        return text, text, False

    def _events(self) -> Pair:
        where = f" WHERE {self._on_time()}" if self._random.random() < 0.6 else ""
        text = self._pick(
            f"SELECT * FROM events{where}",
            f"SELECT host, level, count(*), min(time) FROM events{where} GROUP BY host, level",
            "SELECT time_bucket(INTERVAL '1 hour', time) AS bucket, count(level), sum(level)::float8 "
            f"FROM events{where} GROUP BY 1",
            f"SELECT message, max(level), count(*) FROM events{where} GROUP BY message HAVING count(*) > 3",
        )  # fmt: skip
        return text, text, False
