"""Of which locations a node is asked: what it has of others as well is left out of its scan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.sql import samples
from tsdb.cluster.routing.map import RingMap
from tsdb.model.ring import bucket_hash, intervals_of, location_of
from tsdb.model.store import ScanRequest, TimeRange
from tsdb.model.time import BUCKET_NS

DATABASE = samples.catalog().find("tsdb")
SERIES = DATABASE.find("cpu")
REQUEST = ScanRequest(SERIES, (), TimeRange(0, 3 * BUCKET_NS))
IN_RANGE = {location_of(DATABASE.locations, bucket_hash(DATABASE.number, SERIES.number, at)) for at in range(3)}


def ring_map(*, replicated: bool) -> RingMap:
    return RingMap(cast(Any, SimpleNamespace(replicated=lambda _: replicated)), 1)


@pytest.mark.parametrize("chosen", [DATABASE.locations, IN_RANGE])
def test_a_scan_of_all_that_is_in_range_is_as_it_was(chosen: Any) -> None:
    assert ring_map(replicated=True).restricted(REQUEST, DATABASE, chosen) is REQUEST


def test_a_scan_of_less_is_restricted_to_its_intervals() -> None:
    for at in IN_RANGE:
        some = [each for each in DATABASE.locations if each != at]
        assert ring_map(replicated=True).restricted(REQUEST, DATABASE, some).ring == intervals_of(some)
    assert ring_map(replicated=True).restricted(REQUEST, DATABASE, []).ring == ()


def test_where_nobody_else_has_a_database_nothing_is_restricted() -> None:
    assert ring_map(replicated=False).restricted(REQUEST, DATABASE, []) is REQUEST
