"""Bodies in pieces: the same points, errors and counts as of the whole, wherever the pieces begin."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tsdb.clock import ManualClock
from tsdb.cluster.node import Node
from tsdb.errors import InsufficientPrivilege, TsdbError
from tsdb.ingest import write
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import Parsed
from tsdb.ingest.outcome import Outcome
from tsdb.ingest.pieces import PiecewiseWrite
from tsdb.ingest.write import WriteRequest, submit
from tsdb.model.privileges import Privilege
from tsdb.model.role_changes import CreateRole, GrantPrivileges
from tsdb.model.roles import Role
from tsdb.model.schema import CreateDatabase
from tsdb.model.store import TIME_NS, Producer, ScanRequest
from tsdb.storage.options import Options

NOW = 1_700_000_000_000_000_000
LINES = (
    "m,h=a{i} f={i} {i}",
    'm,h=b s="text {i}" {i}',
    'm,h=c s="two\nlines, f=1 {i}" {i}',
    'm,h=d s="esc\\"aped\n# no comment\\\\" {i}',
    "m,h=e f=bad {i}",
    'm,h=f s="open {i}',
    '# a comment with a " quote',
    "",
    "m,h=g f=1i {i}\r",
    'm,h=i s="",f=2 {i}',
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node.open(tmp_path, Options(clock=ManualClock(NOW)))
    yield node
    node.close()


def rows(node: Node, database: str) -> list[dict[str, object]]:
    view = node.view()
    try:
        series = view.catalog.find(database).find("m")
        names = {column.number: column.name for column in (*series.tags, *series.fields)}
        scan = view.scan(ScanRequest(series, (TIME_NS, *names)))
        found = [
            dict(zip((TIME_NS, *names.values()), row.values(), strict=True))
            for batch in scan.batches
            for row in batch.to_pylist()
        ]
    finally:
        view.close()
    return sorted(found, key=repr)


def in_pieces(node: Node, database: str, body: bytes, sizes: Iterator[int], limits: Limits) -> Outcome:
    writing = PiecewiseWrite(node, WriteRequest(database), NOW, limits, True)
    at = 0
    while at < len(body):
        size = next(sizes)
        writing.feed(bytearray(body[at : at + size]))
        at += size
    submitted = writing.finish()
    for future in submitted.futures:
        future.result()
    return submitted.outcome


@pytest.mark.parametrize("seed", range(12))
def test_pieces_cut_anywhere_are_written_as_the_whole_is(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    kinds = chance.sample(LINES, chance.randint(2, len(LINES))) if seed % 3 else LINES[:1] + LINES[4:5] + LINES[7:9]
    lines = [chance.choice(kinds).format(i=i) for i in range(1, 120)]
    # Everything the schema gets, in one order.
    body = "\n".join(['m,h=z f=1,s="" 0', *lines, *([""] * chance.randint(0, 1))]).encode()
    whole = submit(node, WriteRequest("whole"), body, NOW, Limits(), True)
    for future in whole.futures:
        future.result()
    longest = chance.choice([3, 40, 700, 4000])
    sizes = iter(lambda: chance.randint(1, longest), 0)
    outcome = in_pieces(node, "cut", body, sizes, Limits())
    assert outcome == whole.outcome
    assert rows(node, "cut") == rows(node, "whole")


def test_a_line_that_never_ends_is_refused_and_holds_no_more_than_its_bound(node: Node) -> None:
    limits = Limits(line_bytes_max=1000)
    body = b'm f=1 1\nm s="' + b"x" * 50_000 + b"\nm f=2 2\n"
    outcome = in_pieces(node, "d", body, iter(lambda: 300, 0), limits)
    assert (outcome.written, outcome.dropped) == (2, 1)


def test_what_was_handed_on_stays_when_a_later_piece_fails(node: Node) -> None:
    writing = PiecewiseWrite(node, WriteRequest("d"), NOW, Limits(), True)
    for i in range(6):
        writing.feed(f"m f={i} {i}\n".encode())
    broken = PiecewiseWrite(node, WriteRequest("d", "fortnight"), NOW, Limits(), True)
    with pytest.raises(TsdbError):
        for _ in range(6):
            broken.feed(b"m f=1 99\n")
    for future in writing.finish().futures:
        future.result()
    assert [row["time_ns"] for row in rows(node, "d")] == list(range(6))


def role_that_may_write_m(node: Node, database: str) -> int:
    """And no other series that there is."""
    node.change(CreateDatabase(database))
    for name in "mn":
        (future,) = submit(node, WriteRequest(database), f"{name} f=0 0".encode(), NOW, Limits(), True).futures
        future.result()
    node.change(CreateRole(Role(0, "r" + database)))
    node.change(GrantPrivileges(database, "m", Privilege.INSERT, "r" + database))
    return node.catalog.roles.by_name["r" + database].number


FORBIDDEN = b"".join([*(b"m f=%d %d\n" % (i, i) for i in range(1, 500)), *(b"n f=1 %d\n" % i for i in range(500))])


def test_what_is_refused_leaves_nothing_of_a_body_that_is_parsed_by_several_threads(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SPREAD_BYTES", 100)
    role = role_that_may_write_m(node, "d")
    with pytest.raises(InsufficientPrivilege, match=r"^permission denied"):
        submit(node, WriteRequest("d"), FORBIDDEN, NOW, Limits(), True, role, spread=True)
    assert len(rows(node, "d")) == 1


def test_what_is_refused_half_way_says_what_is_stored(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "PART_BYTES", 1000)
    role = role_that_may_write_m(node, "long")
    with pytest.raises(InsufficientPrivilege) as caught:
        submit(node, WriteRequest("long"), FORBIDDEN, NOW, Limits(), True, role)
    stored = len(rows(node, "long")) - 1
    assert caught.value.message == (
        f"partial write: permission denied for table n; the {stored} points before are stored"
    )
    role = role_that_may_write_m(node, "cut")
    writing = PiecewiseWrite(node, WriteRequest("cut"), NOW, Limits(), True, role)
    middle = FORBIDDEN.index(b"n f")
    writing.feed(FORBIDDEN[:middle])
    writing.flush()
    assert writing.stored() == 499
    writing.feed(FORBIDDEN[middle:])
    with pytest.raises(InsufficientPrivilege, match=r"^partial write: .*; the 499 points before are stored$"):
        writing.finish()


def test_a_long_body_that_is_parsed_by_several_threads_is_written_as_by_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SPREAD_BYTES", 100)
    ahead: list[int] = []
    parse_ahead = write.parse_ahead

    def noted(request: WriteRequest, part: memoryview, line: int, now_ns: int, limits: Limits) -> Future[Parsed]:
        ahead.append(len(part))
        return parse_ahead(request, part, line, now_ns, limits)

    monkeypatch.setattr(write, "parse_ahead", noted)
    for seed in range(8):
        chance = random.Random(seed)
        body = "\n".join(chance.choice(LINES).format(i=i) for i in range(chance.randint(2, 400))).encode()
        outcomes = []
        for name, spread in ((f"one{seed}", False), (f"two{seed}", True)):
            ahead.clear()
            submitted = submit(node, WriteRequest(name), body, NOW, Limits(), True, spread=spread)
            for future in submitted.futures:
                future.result()
            outcomes.append(submitted.outcome)
            assert len(submitted.futures) == 1
            assert len(ahead) in ((2,) if spread and len(body) > 2000 else (0, 1, 2) if spread else (0,))
        assert outcomes[0] == outcomes[1]
        assert rows(node, f"one{seed}") == rows(node, f"two{seed}")
    ahead.clear()
    for whole in (WriteRequest("p", producer=Producer("p", 1)), WriteRequest("p", accept_partial=False)):
        submit(node, whole, b"m f=1 1\n" * 100, NOW, Limits(), True, spread=True)
    assert ahead == []
