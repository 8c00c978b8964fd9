"""Conversions between nanoseconds and microseconds, by floor, on both sides of 1970."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.model import time

NS = st.integers(time.NS_MIN, time.NS_MAX)


@given(NS)
def test_microseconds_are_floored(ns: int) -> None:
    assert time.us_of_ns(np.array([ns]))[0] == ns // 1000


@given(NS, st.integers(-(2**53), 2**53))
def test_bounds_of_a_comparison_in_microseconds_select_the_same_points_in_nanoseconds(ns: int, us: int) -> None:
    floored = ns // 1000
    assert (floored >= us) == (ns >= us * 1000)
    if us * 1000 >= time.NS_MIN and (us + 1) * 1000 <= time.NS_MAX:
        assert (floored >= us) == (ns >= time.ns_from_us_ge(us))
        assert (floored > us) == (ns >= time.ns_from_us_gt(us))
        assert (floored < us) == (ns < time.ns_from_us_ge(us))
        assert (floored <= us) == (ns < time.ns_from_us_gt(us))


@pytest.mark.parametrize(
    ("ns", "us"), [(-1, -1), (-1000, -1), (-1001, -2), (0, 0), (999, 0), (-300 * 10**9, -300 * 10**6)]
)
def test_times_before_1970_round_down(ns: int, us: int) -> None:
    assert time.us_of_ns(np.array([ns]))[0] == us


@pytest.mark.parametrize(("ns", "bucket"), [(0, 0), (-1, -1), (time.BUCKET_NS - 1, 0), (-time.BUCKET_NS, -1)])
def test_a_bucket_holds_its_lower_border_and_not_its_upper_one(ns: int, bucket: int) -> None:
    assert time.bucket_of(np.array([ns]))[0] == bucket


def test_bounds_outside_int64_clamp() -> None:
    assert time.ns_from_us_ge(-(2**62)) == time.NS_MIN
    assert time.ns_from_us_gt(2**62) == time.NS_MAX


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01 00:00:00+00"),
        (1_500_000_000, "1970-01-01 00:00:01.5+00"),
        (-1, "1969-12-31 23:59:59.999999999+00"),
        (1_795_248_000_000_000_000, "2026-11-21 08:00:00+00"),
    ],
)
def test_an_instant_is_shown_with_the_digits_that_it_needs(ns: int, text: str) -> None:
    assert time.instant_text(ns) == text
