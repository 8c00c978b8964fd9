"""Who goes when more come than may be unknown at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tsdb.cluster.transport.strangers import Strangers


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc"), st.booleans())))
def test_the_oldest_of_the_place_that_has_most_goes(count_max: int, moves: list[tuple[int, str, bool]]) -> None:
    strangers: Strangers[int] = Strangers(count_max)
    here: list[tuple[int, str]] = []
    for number, (one, place, comes) in enumerate(moves):
        if comes:
            here.append((100 + number, place))
            gone = strangers.add(100 + number, place)
            if len(here) <= count_max:
                assert gone is None
            else:
                places = [where for _, where in here]
                most = max(map(places.count, places))
                left = next(each for each in here if places.count(each[1]) == most)
                assert gone == left[0]
                here.remove(left)
        elif here:
            known = here.pop(one % len(here))
            strangers.remove(known[0])
            strangers.remove(known[0])
        assert len(strangers) == len(here)


def test_who_comes_alone_is_not_pushed_out_by_many_of_another_place() -> None:
    strangers: Strangers[str] = Strangers(4)
    assert strangers.add("node", "10.0.0.1") is None
    ousted = [strangers.add(f"flood{number}", "10.6.6.6") for number in range(1_000)]
    assert ousted == [None] * 3 + [f"flood{number}" for number in range(997)]
