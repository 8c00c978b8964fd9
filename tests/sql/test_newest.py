"""Newest first: which statements ask for few rows, and that their answers are those of reading everything."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.sql import samples
from tests.sql.answers import CONTEXT, ask
from tests.sql.test_random_statements import bag
from tsdb.model.store import Newest
from tsdb.sql.newest import execution
from tsdb.sql.query import Queries
from tsdb.sql.statement import Select, parse, split

UNPRUNED = replace(CONTEXT, settings={"timezone": "UTC", "tsdb.prune": "off"})
LATERAL = (
    "SELECT {} FROM (SELECT DISTINCT host FROM cpu {}) AS t, LATERAL (SELECT * FROM cpu WHERE host = t.host {} "
    "ORDER BY time {} LIMIT {}) AS c"
)


def asked(queries: Queries, text: str, values: list[object] | None = None) -> list[Newest | None]:
    view = samples.view(100)
    ask(queries, view, text, values or [])
    return [request.newest for request in view.requests]


def numbers(*names: str) -> tuple[int, ...]:
    series = samples.catalog().find("tsdb").find("cpu")
    return tuple(series.column(name).number for name in names)


HOST, REGION = ("host",), ("region",)


@pytest.mark.parametrize(
    ("text", "rows", "by", "oldest", "ties"),
    [
        ("SELECT DISTINCT ON (host) * FROM cpu ORDER BY host, time DESC", 1, HOST, False, False),
        ("SELECT DISTINCT ON (host) * FROM cpu ORDER BY host, time DESC, n", 1, HOST, False, True),
        ("SELECT DISTINCT ON (region, host) n FROM cpu ORDER BY host, region, time", 1, REGION + HOST, True, False),
        ("SELECT DISTINCT ON (host) host, time_ns FROM cpu ORDER BY host, time_ns DESC", 1, HOST, False, True),
        ("SELECT DISTINCT ON (upper(host)) n FROM cpu ORDER BY upper(host), time DESC", 1, HOST, False, False),
        ("SELECT DISTINCT ON (host) n + 1 FROM cpu WHERE region = 'eu' ORDER BY host, time DESC LIMIT 3", 1, HOST,
         False, False),
        ("SELECT DISTINCT ON (host) * FROM cpu", 1, HOST, False, False),
        ("SELECT DISTINCT region || host FROM cpu", 1, REGION + HOST, False, False),
        ("SELECT host FROM cpu GROUP BY host HAVING host > 'host_3'", 1, HOST, False, False),
        ("SELECT host, last(usage, time), max(time) + '1 s' FROM cpu GROUP BY host", 1, HOST, False, False),
        ("SELECT first(usage, time), min(time) FROM cpu WHERE time > '2026-01-01'", 1, (), True, False),
        ("SELECT max(time_ns) FROM cpu", 1, (), False, True),
        ("SELECT host, last(n, time) FROM cpu GROUP BY 1 HAVING max(time) > '2020-01-01' ORDER BY max(time)", 1, HOST,
         False, False),
        ("SELECT * FROM cpu ORDER BY time DESC LIMIT 5", 5, (), False, False),
        ("SELECT * FROM cpu ORDER BY time DESC FETCH FIRST 5 ROWS ONLY", 5, (), False, False),
        ("SELECT * FROM cpu ORDER BY 1 FETCH FIRST ROW ONLY", 1, (), True, False),
        ("SELECT * FROM cpu ORDER BY time LIMIT 5 OFFSET 7", 12, (), True, False),
        ("SELECT n * 2, host FROM cpu WHERE host IN ('host_1', 'host_2') ORDER BY time DESC, n LIMIT 2 + 1", None, (),
         False, True),
        ("SELECT n * 2, host FROM cpu WHERE host IN ('host_1', 'host_2') ORDER BY time DESC, n LIMIT 3", 3, (), False,
         True),
        ("SELECT max(n) FROM (SELECT * FROM cpu ORDER BY time DESC LIMIT 9) AS q", 9, (), False, False),
        ("SELECT x.host, x.t FROM (SELECT host, time AS t FROM cpu WHERE region = 'eu') AS x ORDER BY t DESC LIMIT 2",
         2, (), False, False),
        ("WITH q AS (SELECT time AS t, host AS h FROM cpu) SELECT DISTINCT ON (h) t FROM q ORDER BY h, t DESC", 1, HOST,
         False, False),
        ("SELECT (SELECT n FROM cpu WHERE host = m.h ORDER BY time DESC LIMIT 1) FROM (VALUES ('host_1')) AS m(h)", 1,
         HOST, False, False),
    ],
)  # fmt: skip
def test_a_scan_is_asked_for_the_rows_that_matter(
    queries: Queries, text: str, rows: int | None, by: tuple[str, ...], oldest: bool, ties: bool
) -> None:
    expected = None if rows is None else Newest(rows, numbers(*by), oldest, ties)
    assert asked(queries, text) == [expected]


def test_lateral_subqueries_ask_for_each_group(queries: Queries) -> None:
    found = asked(queries, LATERAL.format("c.time, c.n", "", "", "DESC", 2))
    assert sorted(map(repr, found)) == sorted(
        map(repr, [Newest(1, numbers("host"), ties=False), Newest(2, numbers("host"), ties=False)])
    )


def test_parameters_say_how_many(queries: Queries) -> None:
    text = "SELECT * FROM cpu WHERE host = $3 ORDER BY time DESC LIMIT $1 OFFSET $2"
    assert asked(queries, text, [5, 2, "host_1"]) == [Newest(7, ties=False)]
    assert asked(queries, text, [None, 2, "host_1"]) == [None]
    view = samples.view(100)
    every = ask(queries, view, "SELECT time FROM cpu ORDER BY time")[1]
    for limit, offset, expected in (
        (None, None, every),
        (2**63 - 1, 2, every[2:]),
        (3, 2**63 - 1, []),
        (3, None, every[:3]),
    ):
        found = ask(queries, view, "SELECT time FROM cpu ORDER BY time LIMIT $1 OFFSET $2", [limit, offset])[1]
        assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM cpu ORDER BY time DESC",
        "SELECT * FROM cpu ORDER BY host, time DESC LIMIT 5",
        "SELECT * FROM cpu ORDER BY time DESC LIMIT 0",
        "SELECT * FROM cpu ORDER BY time DESC LIMIT 1000000",
        "SELECT * FROM cpu ORDER BY time + '1 s' DESC LIMIT 5",
        "SELECT *, row_number() OVER (ORDER BY n) FROM cpu ORDER BY time DESC LIMIT 5",
        "SELECT generate_series(1, n::int), time FROM cpu ORDER BY time DESC LIMIT 5",
        "SELECT * FROM cpu WHERE random() < 2 ORDER BY time DESC LIMIT 5",
        "SELECT c.time FROM cpu AS c JOIN mem AS m ON c.host = m.host ORDER BY c.time DESC LIMIT 5",
        "SELECT DISTINCT ON (host) * FROM cpu ORDER BY host, usage DESC",
        "SELECT DISTINCT ON (n) * FROM cpu ORDER BY n, time DESC",
        "SELECT DISTINCT ON (host) * FROM cpu WHERE n = 3 ORDER BY host, time DESC",
        "SELECT DISTINCT n FROM cpu",
        "SELECT host, last(usage, n) FROM cpu GROUP BY host",
        "SELECT host, last(usage, time), first(usage, time) FROM cpu GROUP BY host",
        "SELECT host, last(usage, time), count(*) FROM cpu GROUP BY host",
        "SELECT host, max(time) FILTER (WHERE n > 3) FROM cpu GROUP BY host",
        "SELECT host, max(DISTINCT time) FROM cpu GROUP BY host",
        "SELECT host, max(time) FROM cpu GROUP BY ROLLUP (host)",
        "SELECT n, max(time) FROM cpu GROUP BY n",
        "WITH q AS (SELECT time AS t FROM cpu) SELECT t, (SELECT min(t) FROM q) FROM q ORDER BY t DESC LIMIT 1",
        "SELECT * FROM (SELECT * FROM cpu LIMIT 3) AS q ORDER BY time DESC LIMIT 1",
        "SELECT time FROM cpu UNION ALL SELECT time FROM cpu ORDER BY 1 DESC LIMIT 1",
        "SELECT (SELECT n FROM cpu WHERE time < m.t ORDER BY time DESC LIMIT 1) FROM (VALUES (now())) AS m(t)",
    ],
)
def test_what_needs_all_rows_reads_all_rows(queries: Queries, text: str) -> None:
    assert set(asked(queries, text)) <= {None}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT DISTINCT ON (host) host, time, usage, n, ok, note, day, small FROM cpu ORDER BY host, time DESC",
        "SELECT DISTINCT ON (host, region) * FROM (SELECT time, host, region, n FROM cpu) AS q "
        "ORDER BY region DESC, host, time, n",
        "SELECT DISTINCT ON (host) time, host FROM cpu",
        "SELECT note, time FROM cpu ORDER BY time DESC, note NULLS FIRST, usage, n DESC LIMIT 7 OFFSET 1",
        "SELECT max(time) AS latest FROM cpu",
        "SELECT last(usage, time), max(time), last(note, time) FROM cpu WHERE host = 'nobody'",
        "SELECT last(usage, time) FROM cpu WHERE host = 'nobody' OFFSET 1",
        "SELECT last(n, time) AS n, region FROM cpu GROUP BY region ORDER BY max(time) DESC, region LIMIT 2",
        "SELECT DISTINCT region, host FROM cpu ORDER BY host DESC NULLS LAST, region LIMIT 9",
        "SELECT host FROM cpu GROUP BY host, region ORDER BY region, host",
        "SELECT time_ns, sequence FROM cpu ORDER BY time_ns LIMIT 3",
    ],
)
def test_choices_of_columns_are_answered_without_duckdb(queries: Queries, text: str) -> None:
    _, plan = ask(queries, samples.view(100), f"EXPLAIN {text}")
    assert plan[0][0].startswith("Query in kernels")
    answers = []
    for context in (CONTEXT, UNPRUNED):
        (fragment,) = split(text)
        statement = parse(fragment)
        assert isinstance(statement, Select)
        view = samples.view(300, batch_rows=70)
        rows = queries.run(queries.prepare(statement, context, view.catalog), view, [], context)
        batches = list(rows)
        answers.append(({batch.schema for batch in batches}, sum(map(len, batches))))
        rows.close()
    assert answers[0] == answers[1]
    if "DISTINCT ON (host) time" not in text:
        found, expected = (ask(queries, samples.view(300), text, context=c)[1] for c in (CONTEXT, UNPRUNED))
        assert list(map(repr, found)) == list(map(repr, expected))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT DISTINCT ON (host) * FROM cpu ORDER BY host, time DESC",
        "SELECT DISTINCT ON (host) price FROM cpu ORDER BY host, time DESC",
        "SELECT host, last(n + 1, time) FROM cpu GROUP BY host",
        "SELECT upper(host), max(time) FROM cpu GROUP BY upper(host)",
        "SELECT host, max(time) FROM cpu GROUP BY host HAVING max(time) > '2020-01-01'",
        "SELECT time, n FROM cpu ORDER BY time DESC, n + 1 LIMIT 3",
        "SELECT count(*) FROM (SELECT DISTINCT ON (host) host FROM cpu ORDER BY host, time DESC) AS q",
    ],
)
def test_the_rest_runs_in_duckdb_over_few_rows(queries: Queries, text: str) -> None:
    _, plan = ask(queries, samples.view(100), f"EXPLAIN {text}")
    assert plan[0][0].startswith("Query in DuckDB")
    assert asked(queries, text) != [None]


def test_too_many_rows_go_to_duckdb(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "SELECT DISTINCT ON (host, region) host, region, time FROM cpu ORDER BY host, region, time DESC"
    expected = ask(queries, samples.view(300), text)[1]
    monkeypatch.setattr(execution, "VALUES_MAX", 20)
    assert ask(queries, samples.view(300), text)[1] == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("SELECT time_bucket('1 minute', time) AS t, max(n) FROM cpu GROUP BY t ORDER BY t DESC LIMIT 5", 1),
        ("SELECT time, n FROM cpu WHERE n = 3 ORDER BY time DESC LIMIT 1", 1),
        ("SELECT time, n FROM cpu WHERE n = 1000 ORDER BY time DESC LIMIT 1", 9),
        ("SELECT * FROM cpu WHERE host LIKE 'host%' ORDER BY time DESC LIMIT 5", 1),
        ("SELECT DISTINCT time FROM cpu ORDER BY time DESC LIMIT 5", 1),
        ("SELECT time, n FROM cpu WHERE n = 3 ORDER BY time DESC", 0),
        ("SELECT time, n FROM cpu WHERE n = 3 ORDER BY time DESC LIMIT 100000", 0),
        ("SELECT time, random() FROM cpu WHERE n = 3 ORDER BY time DESC LIMIT 1", 0),
        ("SELECT n, max(time) FROM cpu GROUP BY n ORDER BY max(time) DESC LIMIT 1", 0),
        ("SELECT time_bucket('1 month', time) AS t, max(n) FROM cpu GROUP BY t ORDER BY t DESC LIMIT 5", 0),
        ("SELECT time_bucket('1 minute', time) AS t, max(n) FROM cpu GROUP BY t ORDER BY max(n), t DESC LIMIT 5", 0),
        ("SELECT a.time FROM cpu AS a, cpu AS b WHERE a.time = b.time ORDER BY a.time DESC LIMIT 1", 0),
    ],
)
def test_a_statement_reads_the_newest_part_of_its_range_first(queries: Queries, text: str, parts: int) -> None:
    view = samples.view(3000)
    ask(queries, view, text)
    edges = [request for request in view.requests if request.newest is not None]
    read = [request for request in view.requests if request.newest is None]
    if parts:
        assert edges
        assert len(read) <= parts
        assert read[0].range.low > samples.BASE_NS
    else:
        assert not edges


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("where", ["", "WHERE time >= '2026-01-01'", "WHERE time < '2026-01-01 01:00:30' AND n > 10"])
@pytest.mark.parametrize(
    "bucket",
    [
        "time_bucket('7 minutes', time)",
        "date_trunc('minute', time)",
        "floor(extract(epoch FROM time) / 90) * 90",
        "date_bin('1 hour', time, '2001-01-01 00:10:00Z')",
    ],
)
def test_groups_at_the_end_of_the_range_are_whole(queries: Queries, bucket: str, where: str, direction: str) -> None:
    for limit in (1, 2, 3, 7, 50):
        for keys, order in (("b", f"b {direction}"), ("b, host", f"b {direction}, host")):
            text = (
                f"SELECT {bucket} AS b, count(*), sum(n), min(time) FROM cpu {where} GROUP BY {keys} "
                f"ORDER BY {order} LIMIT {limit}"
            )
            found, expected = (ask(queries, samples.view(400), text, context=c)[1] for c in (CONTEXT, UNPRUNED))
            assert list(map(repr, found)) == list(map(repr, expected)), text


class Statements:
    """Random statements that few rows answer, with one answer each: what ties leave open is not in the list."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def one(self) -> str:
        ways = (self._ordered, self._last, self._aggregated, self._distinct, self._lateral, self._widened)
        return self._chance.choice(ways)()

    def _where(self, word: str = "WHERE") -> str:
        chance = self._chance
        conditions = [
            each for each in (
                f"time < '2026-01-01 0{chance.randrange(3)}:{chance.randrange(10, 60)}:00+00'",
                f"time >= '{chance.choice(('2026-01-01 00:45:00+00', '1970-01-01', '1969-12-31 23:59:59.999999+00'))}'",
                chance.choice(("host = 'host_2'", "host IN ('host_1', 'host_5', 'x')", "host IS NULL", "host <> 'x'")),
                chance.choice(("region = 'eu'", "region > 'a'", "NOT region = 'us'")),
                chance.choice(("n > 20", "lower(host) <> 'host_3'", "host LIKE 'host_%'", "n % 2 = 0", "ok")),
            ) if chance.random() < 0.25
        ]  # fmt: skip
        return f" {word} {' AND '.join(conditions)}" if conditions else ""

    @property
    def _direction(self) -> str:
        return self._chance.choice(("ASC", "DESC"))

    def _ordered(self) -> str:
        chance = self._chance
        listed, order = chance.choice((
            ("time", "time {}"), ("time, n, host, region, usage, note", "time {}, time_ns {}, sequence {}"),
            ("*", "time_ns {}, sequence {}"), ("time_bucket('1 minute', time)", "time {}"),
        ))  # fmt: skip
        limit = f"LIMIT {chance.choice((1, 2, 5, 40, 1000))}" + (" OFFSET 3" if chance.random() < 0.3 else "")
        source = f"(SELECT * FROM cpu{self._where()}) AS q" if chance.random() < 0.3 and listed != "*" else "cpu"
        if source != "cpu":
            listed, order = "time", "time {}"
        return f"SELECT {listed} FROM {source}{self._where()} ORDER BY {order.replace('{}', self._direction)} {limit}"

    def _last(self) -> str:
        on = self._chance.choice(("host", "host, region", "region", "lower(region)", "()"))
        exact = self._chance.random() < 0.5
        listed = f"{'1' if on == '()' else on}, time" + (", n, note, usage, ok, small, day, price" if exact else "")
        last = f"time {self._direction}" + (f", time_ns {self._direction}, sequence" if exact else "")
        if on == "()":
            return f"SELECT {listed} FROM cpu{self._where()} ORDER BY {last} LIMIT 1"
        limit = f" LIMIT {self._chance.randrange(1, 6)}" if self._chance.random() < 0.3 else ""
        return f"SELECT DISTINCT ON ({on}) {listed} FROM cpu{self._where()} ORDER BY {on}, {last}{limit}"

    def _aggregated(self) -> str:
        chance = self._chance
        function = chance.choice(("max(time)", "min(time)", "max(time_ns)", "max(time) - min(time)"))
        keys = chance.choice(("", "host", "region, host", "upper(region)"))
        if not keys:
            return f"SELECT {function} FROM cpu{self._where()}"
        having = f" HAVING {function.split(' -')[0]} IS NOT NULL" if chance.random() < 0.2 else ""
        order = chance.choice(("", f" ORDER BY 1 DESC, {keys} LIMIT 3", f" ORDER BY {keys} OFFSET 1"))
        return f"SELECT {function}, {keys} FROM cpu{self._where()} GROUP BY {keys}{having}{order}"

    def _distinct(self) -> str:
        listed = self._chance.choice(("host", "region, host", "upper(host), length(region)"))
        order = self._chance.choice(("", f" ORDER BY {listed} LIMIT 3"))
        return f"SELECT DISTINCT {listed} FROM cpu{self._where()}{order}"

    def _widened(self) -> str:
        """Rows in the order of time, a few of them, which fields or groups decide."""
        chance = self._chance
        rest = f"LIMIT {chance.choice((1, 2, 5, 40))}" + (" OFFSET 3" if chance.random() < 0.3 else "")
        where, order = self._where(), self._direction
        bucket = chance.choice((
            "time_bucket('7 minutes', time)", "date_trunc('minute', time)", "time_bucket('1 second', time)",
            "floor(extract(epoch FROM time) / 90) * 90", "date_bin('1 hour', time, '2001-01-01')",
        ))  # fmt: skip
        having = " HAVING count(n) > 1" if chance.random() < 0.3 else ""
        return chance.choice(
            (
                f"SELECT {bucket} AS b, count(*), max(n), sum(small) FROM cpu{where} GROUP BY b{having} "
                f"ORDER BY b {order} {rest}",
                f"SELECT {bucket} AS b, host, min(usage), sum(n) FROM cpu{where} "
                f"GROUP BY host, b{having} ORDER BY b {order}, host NULLS FIRST {rest}",
                f"SELECT time, n FROM cpu{where or ' WHERE n > 10'} ORDER BY time {order}, time_ns, sequence {rest}",
                f"SELECT time, sequence FROM cpu WHERE n > 48 ORDER BY time_ns {order}, sequence {rest}",
                f"SELECT DISTINCT time, host FROM cpu{where} ORDER BY time {order}, host {rest}",
                f"SELECT {bucket} AS b, n FROM cpu{where} ORDER BY b {order}, time_ns, sequence {rest}",
            )
        )

    def _lateral(self) -> str:
        rest = self._where("AND")
        return LATERAL.format("t.host, c.time", self._where(), rest, self._direction, self._chance.randrange(1, 4))


def agree(queries: Queries, seed: int, count: int) -> None:
    statements, few, widened = Statements(seed), 0, 0
    for _ in range(count):
        text = statements.one()
        view = samples.view(200, seed % 5, batch_rows=50)
        found = ask(queries, view, text)[1]
        expected = ask(queries, samples.view(200, seed % 5), text, context=UNPRUNED)[1]
        assert bag(found) == bag(expected), text
        if "ORDER BY" in text and "LATERAL" not in text:
            assert [repr(row) for row in found] == [repr(row) for row in expected], text
        few += any(request.newest is not None for request in view.requests)
        if any(request.newest is not None and request.columns == ("time_ns",) for request in view.requests):
            widened += 1
    assert few > count / 3
    assert widened > count / 15


@pytest.mark.parametrize("seed", range(4))
def test_few_rows_give_the_same_answer(queries: Queries, seed: int) -> None:
    agree(queries, seed, 60)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 140))
def test_few_rows_give_the_same_answer_for_long(queries: Queries, seed: int) -> None:
    agree(queries, seed, 250)
