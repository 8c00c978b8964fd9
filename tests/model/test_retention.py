"""Floors rise in steps and never fall."""

from __future__ import annotations

from tsdb.model.retention import due
from tsdb.model.schema import LINE_PROTOCOL_TIME, Catalog, CreateDatabase, CreateSeries, SetRetention, apply
from tsdb.model.time import NS_PER_SECOND

DAY = 86_400 * NS_PER_SECOND
START = 1_700_000_000 * NS_PER_SECOND


def catalog(retention_ns: int | None) -> Catalog:
    series = CreateSeries("d", "m", (LINE_PROTOCOL_TIME,), keyed=True, retention_ns=retention_ns)
    return apply(Catalog(), [CreateDatabase("d"), series])


def test_a_series_without_retention_has_no_floor() -> None:
    assert due(catalog(None), START) == ()


def test_the_first_floor_is_set_at_once() -> None:
    assert due(catalog(DAY), START) == (SetRetention("d", "m", DAY, START - DAY),)


def test_a_floor_rises_when_it_lags_and_not_before() -> None:
    now = apply(catalog(DAY), due(catalog(DAY), START))
    assert due(now, START + 80 * NS_PER_SECOND) == ()
    (change,) = due(now, START + 90 * NS_PER_SECOND)
    assert change.floor_ns == START + 90 * NS_PER_SECOND - DAY


def test_a_clock_that_goes_back_moves_no_floor() -> None:
    now = apply(catalog(DAY), due(catalog(DAY), START))
    assert due(now, START - 10 * DAY) == ()
