"""ASOF JOIN against a plain model: nearest rows, ties, tolerance, conditions of either side."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from tests.sql.answers import ask
from tests.sql.memory_view import MemoryView, table_of
from tests.sql.samples import catalog
from tests.timeseries.points import SECOND, START_US
from tsdb.errors import TsdbError
from tsdb.sql.query import Queries

Row = tuple[int, str | None, float | None]  # time in seconds after START, host, usage or used
Holds = Callable[[Row, Row], bool]


def view_of_two(left: Sequence[Row], right: Sequence[Row]) -> MemoryView:
    made = catalog()
    tables = {}
    for name, column, rows in (("cpu", "usage", left), ("mem", "used", right)):
        columns = {
            "host": pa.array([r[1] for r in rows], pa.string()),
            column: pa.array([r[2] for r in rows], pa.float64()),
        }
        times = [(START_US + r[0] * SECOND) * 1000 for r in rows]
        number, table = table_of(made, "tsdb", name, times, columns)
        tables[number] = table
    return MemoryView(made, tables, 13)


def random_rows(chance: random.Random, count: int) -> list[Row]:
    """Of each host at most one row at a time."""
    cells = [(time, host) for time in range(120) for host in ("a", "b", None)]
    return [
        (time, host, None if chance.random() < 0.1 else float(chance.randrange(100)))
        for time, host in chance.sample(cells, count)
    ]


def always(left: Row, right: Row) -> bool:
    return True


def joined(
    left: Sequence[Row], right: Sequence[Row], *, after: Holds = always, before: Holds = always, strict: bool = False,
    forward: bool = False, outer: bool = False,
) -> list[tuple[object, ...]]:  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for row in left:
        distance = [
            (r[0] - row[0] if forward else row[0] - r[0], r) for r in right if r[1] is not None and r[1] == row[1]
        ]
        near = sorted(
            ((d, r) for d, r in distance if (d > 0 if strict else d >= 0) and before(row, r)), key=lambda pair: pair[0]
        )
        if near and after(row, near[0][1]):
            rows.append((*row, *near[0][1]))
        elif outer:
            rows.append((*row, None, None, None))
    return rows


def seconds(name: str) -> str:
    return f"CAST(extract(epoch FROM {name}.time) - {START_US // SECOND} AS int8)"


SELECT = f"SELECT {seconds('c')}, c.host, c.usage, {seconds('m')}, m.host, m.used FROM cpu AS c "
USED: Holds = lambda left, right: right[2] is not None and right[2] > 50
JOINS: dict[str, dict[str, object]] = {
    "ASOF JOIN mem AS m ON c.host = m.host AND c.time >= m.time": {},
    "ASOF JOIN mem AS m ON m.time < c.time AND m.host = c.host": {"strict": True},
    "ASOF JOIN mem AS m ON c.host = m.host AND c.time <= m.time": {"forward": True},
    "ASOF LEFT JOIN mem AS m ON (c.host = m.host AND c.time > m.time)": {"strict": True, "outer": True},
    "ASOF LEFT JOIN mem AS m ON c.host = m.host AND m.time > c.time": {"strict": True, "outer": True, "forward": True},
    "ASOF JOIN mem AS m ON c.host = m.host AND c.time >= m.time TOLERANCE '5 seconds'": {
        "after": lambda left, right: left[0] - right[0] <= 5
    },
    "ASOF LEFT JOIN mem AS m ON c.host = m.host AND c.time <= m.time TOLERANCE INTERVAL '3 seconds'": {
        "outer": True, "forward": True, "after": lambda left, right: right[0] - left[0] <= 3,
    },
    "ASOF JOIN mem AS m ON c.host = m.host AND c.time >= m.time AND c.time - m.time < INTERVAL '4 seconds'": {
        "after": lambda left, right: left[0] - right[0] < 4
    },
    "ASOF JOIN mem AS m ON c.host = m.host AND m.used > 50 AND c.time >= m.time": {"before": USED},
    "ASOF LEFT JOIN mem AS m ON c.host = m.host AND m.used > 50 AND c.time >= m.time"
    " AND m.time > c.time - INTERVAL '9 s'": {
        "before": USED, "outer": True, "after": lambda left, right: right[0] > left[0] - 9,
    },
    "ASOF LEFT JOIN mem AS m ON c.host = m.host AND c.usage < 30 AND c.time >= m.time": {
        "outer": True, "after": lambda left, right: left[2] is not None and left[2] < 30,
    },
    "ASOF JOIN mem AS m ON c.host = m.host AND c.usage < 30 AND c.time >= m.time": {
        "after": lambda left, right: left[2] is not None and left[2] < 30,
    },
}  # fmt: skip


def ordered(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return sorted(rows, key=repr)


@pytest.mark.parametrize("join", JOINS)
def test_each_row_meets_the_nearest_one(queries: Queries, join: str) -> None:
    chance = random.Random(join)
    for _ in range(5):
        left, right = random_rows(chance, chance.choice([0, 5, 60])), random_rows(chance, chance.choice([0, 5, 60]))
        found = ask(queries, view_of_two(left, right), SELECT + join)[1]
        assert ordered(found) == ordered(joined(left, right, **JOINS[join]))  # type: ignore[arg-type]


def test_using_compares_its_last_column(queries: Queries) -> None:
    chance = random.Random(2)
    left, right = random_rows(chance, 50), random_rows(chance, 50)
    text = f"SELECT {seconds('c')}, host, usage, used FROM cpu AS c ASOF LEFT JOIN mem AS m USING (host, time)"
    wanted = [(r[0], r[1], r[2], r[5]) for r in joined(left, right, outer=True)]
    assert ordered(ask(queries, view_of_two(left, right), text)[1]) == ordered(wanted)


def test_where_chooses_among_the_joined_rows(queries: Queries) -> None:
    """A condition on the right side in WHERE must not make another row the nearest."""
    chance = random.Random(3)
    left, right = random_rows(chance, 60), random_rows(chance, 60)
    text = f"{SELECT} ASOF JOIN mem AS m ON c.host = m.host AND c.time >= m.time WHERE m.used > 50 AND m.host = 'a'"
    wanted = [r for r in joined(left, right) if isinstance(r[5], float) and r[5] > 50 and r[4] == "a"]
    assert ordered(ask(queries, view_of_two(left, right), text)[1]) == ordered(wanted)


def test_a_side_may_be_a_subquery(queries: Queries) -> None:
    chance = random.Random(4)
    left, right = random_rows(chance, 40), random_rows(chance, 40)
    text = (
        SELECT
        + """ASOF LEFT JOIN (SELECT * FROM mem WHERE used > 50) AS m
        ON c.host = m.host AND c.time >= m.time TOLERANCE '10 s'"""
    )
    wanted = joined(left, right, before=USED, outer=True, after=lambda a, b: a[0] - b[0] <= 10)
    assert ordered(ask(queries, view_of_two(left, right), text)[1]) == ordered(wanted)


@pytest.mark.parametrize(
    ("join", "sqlstate", "message"),
    [
        ("ASOF JOIN mem AS m ON c.host = m.host", "0A000", "ASOF JOIN needs one comparison"),
        ("ASOF JOIN mem AS m ON c.time > m.time AND c.usage > m.used", "0A000", "ASOF JOIN needs one comparison"),
        ("ASOF JOIN mem AS m ON c.time > m.time OR c.host = m.host", "0A000", "ASOF JOIN needs one comparison"),
        ("ASOF JOIN mem AS m", "42601", "ASOF JOIN needs ON or USING"),
        ("ASOF RIGHT JOIN mem AS m USING (host, time)", "0A000", "ASOF RIGHT JOIN is not supported"),
        ("ASOF JOIN mem AS m ON c.host = m.host AND c.time > m.time TOLERANCE 'much'", "22007", "invalid input syntax"),
        ("JOIN mem AS m ON c.host = m.host TOLERANCE '1 s'", "42601", "TOLERANCE belongs to ASOF JOIN"),
    ],
)
def test_wrong_joins_say_what_to_do(queries: Queries, join: str, sqlstate: str, message: str) -> None:
    with pytest.raises(TsdbError) as caught:
        ask(queries, view_of_two([], []), SELECT + join)
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)
