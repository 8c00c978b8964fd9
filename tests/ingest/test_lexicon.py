"""Bodies parsed with the names of those before: the same points, however many names come and in whatever order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.ingest.points import points_of
from tsdb.cluster.node import Node
from tsdb.ingest import lexicon
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Parsed, parse
from tsdb.ingest.write import WriteRequest, submit
from tsdb.storage.options import Options


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known at first."""
    monkeypatch.setattr(lexicon, "_spare", [])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node.open(tmp_path, Options())
    yield node
    node.close()


def recalled(body: bytes) -> Parsed:
    """Parsed with what is known; the same as without."""
    found, alone = parse(body, now_ns=0, recall=True), parse(body, now_ns=0)
    assert points_of(found) == points_of(alone)
    assert (found.errors, found.error_count) == (alone.errors, alone.error_count)
    return found


def lines(first: int, count: int) -> bytes:
    return b"".join(b"m,host=h%d,dc=d%d f=%d,g=%di %d\n" % (i, i % 7, i, i, i) for i in range(first, first + count))


def test_known_series_keys_are_the_same_object_and_so_are_their_tag_sets() -> None:
    first, second, third = recalled(lines(0, 500)), recalled(lines(0, 500)), recalled(lines(0, 499))
    (a,), (b,), (c,) = first.lines, second.lines, third.lines
    assert a.keys is b.keys
    assert c.keys is not a.keys
    assert len(c.keys) == 499
    numbers, seed = np.arange(2), np.uint64(1)
    assert a.keys.distinct(numbers, seed)[1] is b.keys.distinct(numbers, seed)[1]
    assert a.keys.distinct(numbers[::-1].copy(), seed)[1] != b.keys.distinct(numbers, seed)[1]


def test_more_names_than_there_is_room_for_are_parsed_all_the_same() -> None:
    for first, count in ((0, 3000), (2000, 2900), (3000, 4100), (0, 10), (0, 9000), (8000, 2000)):
        assert len(recalled(lines(first, count)).lines[0]) == count


def test_a_writer_of_new_series_does_not_keep_them() -> None:
    for at in range(4):
        recalled(lines(1000 * at, 1000))
        (words,) = lexicon._spare
        assert words.counts[0] < 2100


def test_other_limits_judge_names_anew() -> None:
    body = b"m,host=abcdefgh f=1 1"
    assert parse(body, now_ns=0, recall=True).error_count == 0
    assert parse(body, now_ns=0, recall=True, limits=Limits(name_bytes_max=3)).error_count == 1
    assert parse(body, now_ns=0, recall=True).error_count == 0


def test_bad_names_stay_bad_and_say_where() -> None:
    body = b"m,=x f=1\nm f=1,time=2\nm,a=1,a=2 f=1\nm,a=1 f=1,f=2\nm a=1 1\nm,a=1 a=2 1\n"
    for _ in range(3):
        assert recalled(body + lines(0, 3)).error_count == 5


def test_many_threads_know_different_names() -> None:
    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            at = rng.randrange(0, 3000, 100)
            recalled(lines(at, rng.choice((1, 100, 700))))

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, seed) for seed in range(6)]:
            done.result()


def test_columns_are_made_in_the_order_of_the_body_that_needs_them(node: Node) -> None:
    def write(database: str, body: bytes) -> None:
        for future in submit(node, WriteRequest(database), body, 0, Limits(), True).futures:
            future.result()

    write("one", b"m,a=1,b=1,c=1 x=1,y=1,z=1 1\nn,a=1 x=1 1")
    write("two", b"n,c=1 y=1 1\nm,c=1 z=1 1\nm,b=1 y=1 2\nm,a=1 x=1 3")
    found = node.catalog.find("two")
    assert [column.name for column in found.find("m").columns] == ["time", "c", "b", "a", "z", "y", "x"]
    assert [name for name in found.series if name in "mn"] == ["n", "m"]
