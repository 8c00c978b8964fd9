"""What a scan of newest rows must give, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

from tests.cluster.model import Tags
from tsdb.model.schema import Series
from tsdb.model.store import Newest

Row = tuple[Tags, int, tuple[Any, ...]]


def random_newest(random: Random, series: Series) -> Newest:
    by = tuple(tag.number for tag in series.tags if random.random() < 0.6)
    slack_us = random.choice((0, 0, 1, 10**6, 10**11))
    return Newest(random.choice((1, 1, 1, 2, 3, 10)), by, random.random() < 0.4, random.random() < 0.6, slack_us)


def check(newest: Newest, rows: Iterable[Row], found: Iterable[Row]) -> None:
    """``rows`` are all visible ones in range and of the tags."""
    every, given = Counter(rows), Counter(found)
    assert not given - every, "rows that are not there, or twice"
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in every.elements():
        groups.setdefault(_group(newest, row), []).append(row)
    for key, members in groups.items():
        members.sort(key=lambda row: _rank(newest, row))
        got = [row for row in given.elements() if _group(newest, row) == key]
        got.sort(key=lambda row: _rank(newest, row))
        count = min(newest.rows, len(members))
        first, mine = [_rank(newest, r) for r in members[:count]], [_rank(newest, r) for r in got[:count]]
        slack = 0 if newest.ties else newest.slack_us
        assert len(mine) == len(first), f"group {key}"
        assert all(a <= b <= a + slack for a, b in zip(first, mine, strict=True)), f"group {key}"
        if newest.ties:
            needed = Counter(row for row in members if _rank(newest, row) <= first[-1])
            assert not needed - given, f"group {key} lacks rows as new as the last"


def _rank(newest: Newest, row: Row) -> int:
    us = row[1] // 1000
    return us if newest.oldest else -us


def _group(newest: Newest, row: Row) -> tuple[str | None, ...]:
    tags = dict(row[0])
    return tuple(tags.get(column) for column in newest.by)
