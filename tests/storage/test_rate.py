"""The rate: over any time no more than so many bytes a second, and a second's worth at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tsdb.storage.rate import SLACK_S, Rate

Work = st.lists(st.tuples(st.integers(0, 5_000_000), st.floats(0, 3)), min_size=1, max_size=50)


@given(per_second=st.integers(1_000, 10_000_000), work=Work)
def test_who_rests_as_told_stays_below_the_rate_from_any_time_on(
    per_second: int, work: list[tuple[int, float]]
) -> None:
    rate, now = Rate(per_second), 1_000.0
    done: list[tuple[float, float, int]] = []
    for size, idle in work:
        begun = now = now + idle
        now += rate.rest_s(size, now)
        done.append((begun, now, size))
    for first, (begun, _, _) in enumerate(done):
        sent = 0
        for _, ended, size in done[first:]:
            sent += size
            assert sent <= per_second * (ended - begun + SLACK_S) * (1 + 1e-6) + 1


@given(size=st.integers(0, 1 << 40), now=st.floats(0, 1e9))
def test_without_a_limit_there_is_no_rest(size: int, now: float) -> None:
    assert Rate(0).rest_s(size, now) == 0


def test_what_is_behind_its_rate_works_without_a_rest_until_it_has_caught_up() -> None:
    rate = Rate(100)
    assert rate.rest_s(100, 50.0) == 0
    assert rate.rest_s(100, 50.0) == 1
    assert rate.rest_s(100, 51.0) == 1
