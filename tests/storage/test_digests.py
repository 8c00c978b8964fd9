"""Digests say what points there are, however they came and wherever they lie: what replicas compare."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from tests.cluster.setting import SECOND, START, Setting
from tests.storage.test_copies import HOUR, SLOTS, copy, everywhere, fill, in_locations
from tsdb.model.points import Points, encode_tagset
from tsdb.model.schema import ColumnDefinition, CreateSeries, Role
from tsdb.model.store import RangeDeletion, TimeRange
from tsdb.model.time import NS_MAX, NS_MIN
from tsdb.storage.copies.digests import SLICES, decode, digests_of, edges_of
from tsdb.types import BOOL, FLOAT8, INT8, TEXT, TIMESTAMPTZ

WHOLE = (NS_MIN, START + HOUR, START + 3 * HOUR, NS_MAX)


class Unflushed(Setting):
    """All that is written stays in the head."""

    class _Node:
        def __init__(self, node: object) -> None:
            self._node = node

        def flush(self) -> None: ...

        def __getattr__(self, name: str) -> object:
            return getattr(self._node, name)

    def unflushed(self) -> None:
        self.node = self._Node(self.node)  # type: ignore[assignment]

    def flushed(self) -> None:
        self.node = self.node._node  # type: ignore[attr-defined]


def digests(setting: Setting, edges: Sequence[int] = WHOLE) -> dict[int, bytes]:
    view = setting.node.engine.view()
    try:
        return digests_of(view, view.catalog.find("tsdb"), edges, lambda: None)
    finally:
        view.close()


def count(setting: Setting, edges: Sequence[int] = WHOLE) -> int:
    return sum(points for each in digests(setting, edges).values() for points, _ in decode(each))


@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "keyless"])
@pytest.mark.parametrize("seed", range(3))
def test_digests_are_the_same_however_the_points_got_there(tmp_path: Path, seed: int, keyed: bool) -> None:
    slots = SLOTS if seed % 2 else ()
    with (
        Setting(tmp_path / "a", keyed=keyed, slots=slots) as one,
        Unflushed(tmp_path / "b", keyed=keyed, slots=slots) as two,
        Setting(tmp_path / "c", keyed=keyed, slots=slots) as three,
    ):
        # Tag sets come in another order there, so that their ids are others.
        two.write([1], start=START + 500 * HOUR, host="h")
        two.node.delete(
            two.database, RangeDeletion(two.series, TimeRange(START + 500 * HOUR, START + 501 * HOUR))
        ).result(10)
        fill(one, Random(seed))
        two.unflushed()
        fill(two, Random(seed))
        two.flushed()
        expected = digests(one)
        assert count(one) == len(one.seen())
        assert digests(two) == expected
        copy(one, three, everywhere(one))
        assert digests(three) == expected
        for each in (one, two):
            each.node.flush()
            each.node.compact([each.series], full=True)
            assert digests(each) == expected
        two.reopen()
        assert digests(two) == expected


def test_a_location_has_the_digest_of_its_points(tmp_path: Path) -> None:
    with Setting(tmp_path / "a", slots=SLOTS) as setting:
        setting.write([*range(1_000)], step=35 * SECOND)
        seen = setting.seen()
        for number, own in digests(setting).items():
            points = in_locations(setting, seen, {number})
            assert sum(count for count, _ in decode(own)) == len(points) > 0


def test_digests_of_late_and_repeated_points_are_those_of_points_in_order(tmp_path: Path) -> None:
    with Setting(tmp_path / "a") as one, Setting(tmp_path / "b") as two:
        one.write([*range(100)])
        two.write([*range(50, 100)], start=START + 50 * SECOND)
        two.node.flush()
        two.write([7] * 60)
        two.write([*range(60)])
        assert digests(one) == digests(two)


def test_a_point_that_differs_is_in_one_location_and_one_slice(tmp_path: Path) -> None:
    with Setting(tmp_path / "a") as setting:
        setting.write([*range(500)], step=HOUR // 50)
        before = digests(setting)
        changes: list[Callable[[], object]] = [
            lambda: setting.write([1_000], start=START + 2 * HOUR),
            lambda: setting.write([2], start=START + 2 * HOUR, host="b"),
            lambda: setting.node.delete(
                setting.database, RangeDeletion(setting.series, TimeRange(START + 2 * HOUR, START + 2 * HOUR + 1))
            ).result(10),
        ]
        for change in changes:
            change()
            after = digests(setting)
            (changed,) = [each for each in before if before[each] != after[each]]
            pairs = zip(decode(before[changed]), decode(after[changed]), strict=True)
            assert [one == two for one, two in pairs] == [True, False, True]
            before = after


def test_every_kind_of_value_counts_and_what_is_null_does_not(tmp_path: Path) -> None:
    columns = (
        ColumnDefinition("time", Role.TIME, TIMESTAMPTZ), ColumnDefinition("host", Role.TAG, TEXT),
        ColumnDefinition("f", Role.FIELD, FLOAT8), ColumnDefinition("i", Role.FIELD, INT8),
        ColumnDefinition("b", Role.FIELD, BOOL), ColumnDefinition("t", Role.FIELD, TEXT),
    )  # fmt: skip
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    floats = [1.5, -0.0, float("nan"), nan, float("inf"), None, 1e300, None]
    ints = [1, -(2**63), None, 2**63 - 1, 0, 5, None, None]
    bools = [True, False, None, True, None, None, False, None]
    texts = ["", "ä" * 100, None, "x", "xx", "\0", None, None]
    with Setting(tmp_path / "a") as setting:
        setting.node.change(CreateSeries("tsdb", "kinds", columns, True))
        series = setting.database.find("kinds")

        def write(rows: Sequence[int], names: str) -> None:
            found = {"f": pa.array(floats, pa.float64()), "i": pa.array(ints, pa.int64()),
                     "b": pa.array(bools, pa.bool_()), "t": pa.array(texts, pa.string())}  # fmt: skip
            index = np.array(rows)
            points = Points(
                series, START + index.astype(np.int64), [encode_tagset([(series.column("host").number, "a")])],
                np.zeros(len(rows), np.int32),
                {series.column(name).number: found[name].take(pa.array(index)) for name in names},
            )  # fmt: skip
            setting.node.write(setting.database, [points]).result(10)

        write(range(8), "fibt")
        before = digests(setting)
        setting.node.flush()
        assert digests(setting) == before
        # The same values once more, one field at a time, and from blocks.
        for name in "fibt":
            write(range(8), name)
        assert digests(setting) == before
        setting.node.flush()
        setting.node.compact([series], full=True)
        assert digests(setting) == before
        # Each other value is another digest.
        seen = {tuple(before.values())}
        floats[0], ints[0], bools[0], texts[0] = 2.5, 2, False, "y"
        for name in "fibt":
            write([0], name)
            seen.add(tuple(digests(setting).values()))
        assert len(seen) == 5


def test_rounds_go_through_all_points_in_slices_of_about_as_many(tmp_path: Path) -> None:
    # A compaction in the background would make fewer, larger blocks of them, of which slices are made.
    with Setting(tmp_path / "a", compaction=False) as setting:
        for start in range(40):
            setting.write([*range(100)], start=START + start * 2 * HOUR)
            setting.node.flush()
        view = setting.node.engine.view()
        after, counted, rounds = NS_MIN, 0, 0
        while True:
            edges = edges_of(view, view.catalog.find("tsdb"), 1_000, after)
            assert len(edges) <= SLICES + 1
            assert [*edges] == sorted({*edges})
            counted += count(setting, edges)
            rounds += 1
            if edges[-1] == NS_MAX:
                break
            after = edges[-1]
        assert counted == 4_000
        assert 4 <= rounds <= 5
        assert edges_of(view, view.catalog.find("tsdb"), 10_000, after)[0] == NS_MIN
        assert len(edges_of(view, view.catalog.find("tsdb"), 10_000, NS_MIN)) > SLICES // 2
        view.close()
    with Setting(tmp_path / "empty") as setting:
        view = setting.node.engine.view()
        assert edges_of(view, view.catalog.find("tsdb"), 10, NS_MIN) == (NS_MIN, NS_MAX)
        view.close()
