"""Fragments over Flight: what comes, what goes wrong, and what comes in frames then."""

from __future__ import annotations

import asyncio
import datetime
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from tests.cluster.transport.nodes import HOST, write_pair
from tests.fixtures.waiting import until
from tests.fragments.ends import ANSWERS, ASKS, SCAN, Ends, batch, large, opened, rows, slowly
from tsdb.cluster.authority import make_authority
from tsdb.cluster.fragments import channels, fragments, listener
from tsdb.cluster.fragments.channels import Place
from tsdb.cluster.routing import remote
from tsdb.cluster.routing.arrow import batch_of
from tsdb.cluster.routing.messages import Answer, Ask, Failed, LookAtHints, NotLeader, decode, encode
from tsdb.errors import CannotConnectNow, DivisionByZero, InternalError, QueryCanceled
from tsdb.model.freshness import Seen
from tsdb.model.summaries import SummaryCells


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    with opened(tmp_path) as found:
        yield found


def cells(*values: int) -> SummaryCells:
    found = np.array(values, np.int64)
    tags: list[pa.Array] = [pa.array([f"t{value}" for value in values]).dictionary_encode()]
    return SummaryCells(tags, found, found, found, {3: {"sum": found}})


# What comes


def test_cells_then_batches_come_as_they_were_each_with_its_own_dictionary(ends: Ends) -> None:
    sent = [batch(1, 2, 3), batch(4, tag="b"), batch(5, 6, tag="c"), batch(tag="d")]
    ends.answering.made = lambda: iter([(batch_of(cells(1, 2)), True), *((each, False) for each in sent)])
    seen = Seen()
    scan = ends.scan(measured=True, seen=seen)
    (found,) = scan.cells()
    came = list(scan.batches())
    scan.close()
    assert batch_of(found).equals(batch_of(cells(1, 2)))
    assert came == sent
    assert (scan.share.rows, scan._statistics.rows_read) == (6, 7)
    assert scan.share.bytes > 0
    assert scan.share.micros > 0
    assert seen.token == {1: (2, 3)}
    assert ends.answering.peers == [ASKS]
    assert ends.answering.asked == [SCAN]
    assert ends.answering.in_frames == 0
    until(lambda: ends.answering.fragments[0].is_closed)


def test_a_fragment_of_nothing_ends(ends: Ends) -> None:
    assert ends.read() == []
    ends.answering.made = lambda: iter([(batch(), False)])
    assert [each.num_rows for each in ends.read()] == [0]
    assert ends.answering.in_frames == 0


def test_bytes_are_counted_only_where_somebody_wants_to_know(ends: Ends) -> None:
    ends.answering.made = lambda: large(1)
    for measured in (False, True):
        scan = ends.scan(measured=measured)
        list(scan.cells())
        list(scan.batches())
        scan.close()
        assert (scan.share.bytes > 1 << 20) is measured


def test_many_small_fragments_at_once_are_all_whole(ends: Ends) -> None:
    """A call that ends while its first message is still being written would lose what it has sent."""
    ends.answering.made = lambda: iter([(batch(1), False)])
    ends.read()

    def read(_: int) -> int:
        return sum(len(rows(ends.read())) for _ in range(500))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [500] * 4
    assert ends.answering.in_frames == 0


# What is bounded


def test_who_reads_slowly_is_not_sent_more_than_fits(ends: Ends) -> None:
    ends.answering.made = lambda: large(200)
    scan = ends.scan()
    assert next(scan.cells(), None) is None
    first = next(iter(scan.batches()))
    assert first.num_rows == 1 << 17
    (sent,) = ends.answering.fragments
    time.sleep(0.5)
    before = sent.begun_count
    time.sleep(0.5)
    assert sent.begun_count == before < 100
    assert 1 + sum(1 for _ in scan.batches()) == 200
    scan.close()


def test_fragments_that_are_more_at_once_than_fit_come_in_frames(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "FETCHES_MAX", 1)
    ends.answering.made = lambda: large(30)
    first = ends.scan()
    assert next(first.cells(), None) is None
    ends.answering.made = lambda: iter([(batch(1), False)])
    assert len(rows(ends.read())) == 1
    assert ends.answering.in_frames == 1
    first.close()
    until(lambda: not ends.channels._running)
    ends.read()
    assert ends.answering.in_frames == 1


def test_who_asks_too_much_at_once_is_told(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "QUESTIONS_MAX", 1)
    ends.answering.made = lambda: large(60)
    first = ends.scan()
    assert next(first.cells(), None) is None
    with pytest.raises(Exception, match="asks more than 1 questions at once"):
        ends.read()
    first.close()


# What goes wrong


def failing() -> Iterator[tuple[pa.RecordBatch, bool]]:
    yield batch(1), False
    raise DivisionByZero("division by zero", hint="Divide by something.")


def test_an_error_of_a_scan_is_the_error_of_who_asked(ends: Ends) -> None:
    ends.answering.made = failing
    with pytest.raises(DivisionByZero) as error:
        ends.read()
    assert (error.value.message, error.value.hint) == ("division by zero", "Divide by something.")
    assert error.value.where == "scan at 1"
    assert ends.answering.fragments[0].is_closed


def test_an_error_that_is_none_of_ours_is_logged_and_not_told(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    def made() -> Iterator[tuple[pa.RecordBatch, bool]]:
        raise pa.ArrowInvalid("secret")
        yield

    ends.answering.made = made
    with pytest.raises(InternalError, match="could not answer: its log says why"):
        ends.read()
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        (NotLeader(4, 2, 3), "1 does not lead location 4 any more: node 3 does"),
        (CannotConnectNow("not now"), "not now"),
    ],
)
def test_what_is_refused_is_told(ends: Ends, refused: Any, told: str) -> None:
    ends.answering.refused = refused
    with pytest.raises(CannotConnectNow, match=told):
        ends.read()


def test_a_view_that_was_closed_is_not_read(ends: Ends) -> None:
    def made() -> Iterator[tuple[pa.RecordBatch, bool]]:
        yield batch(1), False
        yield batch(2), False
        ends.answering.is_open = False
        yield batch(3), False

    ends.answering.made = made
    with pytest.raises(CannotConnectNow, match="has not any more what the statement has begun to read"):
        ends.read()


def test_while_a_scan_works_who_asked_hears_of_it(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "WORKING_S", 0.2)
    monkeypatch.setattr(listener, "LOOK_S", 0.05)
    monkeypatch.setattr(remote, "SILENT_S", 1.0)
    ends.answering.made = lambda: slowly([(batch(1), False), (batch(2), False)], 2.0)
    assert len(rows(ends.read())) == 2
    assert ends.answering.in_frames == 0


def test_who_hears_nothing_at_all_asks_in_frames_for_a_while(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENT_S", 0.5)
    monkeypatch.setattr(channels, "AGAIN_S", 1.0)
    made = [slowly([(batch(1), False)], 2.0), iter([(batch(1), False)])]
    ends.answering.made = lambda: made.pop(0)
    assert len(rows(ends.read())) == 1
    assert ends.answering.in_frames == 1
    ends.answering.made = lambda: iter([(batch(1), False)])
    ends.read()
    assert ends.answering.in_frames == 2
    time.sleep(1.0)
    ends.read()
    assert ends.answering.in_frames == 2
    assert not ends.channels._failed
    until(lambda: all(each.is_closed for each in ends.answering.fragments if each.begun_count < 2))


def test_who_hears_no_more_gives_up(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> Iterator[tuple[pa.RecordBatch, bool]]:
        yield from large(1)
        time.sleep(2.0)

    monkeypatch.setattr(remote, "SILENT_S", 0.5)
    ends.answering.made = made
    with pytest.raises(CannotConnectNow, match=r"nothing came from it for 0\.5 s"):
        ends.read()
    assert ends.answering.in_frames == 0
    assert ends.channels._failed


def test_while_it_is_not_known_whether_a_node_is_reached_one_fragment_tries(ends: Ends) -> None:
    with socket.create_server((HOST, 0)) as deaf:
        # It takes connections, and says nothing.
        ends.place = Place(f"{HOST}:{deaf.getsockname()[1]}", "n1")
        ends.answering.made = lambda: iter([(batch(1), False)])

        def read(_: int) -> float:
            began = time.monotonic()
            assert len(rows(ends.read())) == 1
            return time.monotonic() - began

        with ThreadPoolExecutor(8) as pool:
            took = sorted(pool.map(read, range(8)))
    assert took[-2] < 1 < took[-1] < 5
    assert ends.answering.in_frames == 8
    assert ends.channels.failed_count == 1


def test_what_was_given_up_before_anything_came_says_nothing_of_the_node(ends: Ends) -> None:
    ends.answering.made = lambda: slowly([(batch(1), False)], 1.0)
    scan = ends.scan()
    until(lambda: ends.answering.fragments)
    scan.close()
    until(lambda: not ends.channels._running)
    ends.answering.made = lambda: iter([(batch(1), False)])
    assert len(rows(ends.read())) == 1
    assert ends.answering.in_frames == 0


def test_who_is_closed_while_it_is_asked_again_leaves_nothing(ends: Ends) -> None:
    ends.place = Place(f"{HOST}:1", "n1")
    ends.answering.made = lambda: large(100)
    begin, scan = ends.exchanges[ASKS].begin, ends.scan()

    async def closed(*arguments: Any) -> int:
        number = await begin(*arguments)
        await asyncio.to_thread(scan.close)
        return number

    ends.exchanges[ASKS].begin = closed  # type: ignore[method-assign,assignment]
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: [list(scan.cells()), next(scan.batches(), None)])
        until(lambda: ends.answering.in_frames == 1)
        until(lambda: not ends.exchanges[ASKS]._asked)
        # It is not answered any more, though nobody has read all of it.
        until(lambda: not ends.exchanges[ANSWERS]._peers[ASKS].answered)
        scan.cancel()
        with suppress(CannotConnectNow, QueryCanceled):
            reading.result(30)


def test_who_is_cancelled_while_it_is_asked_again_leaves_nothing(ends: Ends) -> None:
    """The place where nothing came is known in the thread that reads, and closed by another."""
    ends.place = Place(f"{HOST}:1", "n1")
    asked, go_on = threading.Event(), threading.Event()
    begin = ends.exchanges[ASKS].begin

    async def held(*arguments: Any) -> int:
        asked.set()
        await asyncio.to_thread(go_on.wait, 30)
        return await begin(*arguments)

    ends.exchanges[ASKS].begin = held  # type: ignore[method-assign,assignment]
    scan = ends.scan()

    def read() -> None:
        with pytest.raises(QueryCanceled):
            list(scan.cells())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        assert asked.wait(30)
        began = time.monotonic()
        scan.cancel()
        scan.close()
        reading.result(30)
        assert time.monotonic() - began < 5
        go_on.set()
    until(lambda: ends.answering.in_frames == 1)
    until(lambda: not ends.exchanges[ASKS]._asked)


def test_who_cancels_does_not_wait_and_the_scan_ends(ends: Ends) -> None:
    ends.answering.made = lambda: slowly([(batch(1), False)] * 100, 0.3)
    scan = ends.scan()
    timer = threading.Timer(0.5, scan.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(QueryCanceled):
        list(scan.cells())
        list(scan.batches())
    assert time.monotonic() - began < 5
    scan.close()
    timer.join()
    until(lambda: ends.answering.fragments[0].is_closed)
    assert ends.answering.fragments[0].begun_count < 20


def test_who_is_left_unread_ends(ends: Ends) -> None:
    ends.read()
    ends.answering.made = lambda: large(1000)
    for _ in range(3):
        ends.scan().close()
    scan = ends.scan()
    next(scan.cells(), None)
    scan.close()
    until(lambda: not ends.channels._running)
    until(lambda: all(each.is_closed for each in ends.answering.fragments))


def test_a_node_that_is_gone_is_known_by_its_other_connection(ends: Ends) -> None:
    ends.answering.made = lambda: slowly([(batch(1), False)] * 100, 0.3)
    scan = ends.scan()
    threading.Timer(0.5, ends.lose).start()
    with pytest.raises(CannotConnectNow, match="the connection to 1 ended before it had answered"):
        list(scan.cells())
        list(scan.batches())
    scan.close()
    until(lambda: ends.answering.fragments[0].is_closed)


def test_with_another_connection_between_the_nodes_there_is_another_channel(ends: Ends) -> None:
    """The old one may be dead without anybody knowing: a network that drops packets tells nobody."""
    ends.read()
    before = ends.channels._channels[ANSWERS].client
    ends.read()
    assert ends.channels._channels[ANSWERS].client is before
    ends.paths[ASKS].number = 2
    ends.read()
    assert ends.channels._channels[ANSWERS].client is not before
    assert ends.answering.in_frames == 0


def test_a_node_that_stops_says_so_and_its_rows_are_read_elsewhere(ends: Ends) -> None:
    ends.answering.made = lambda: slowly([(batch(1), False)] * 100, 0.3)
    scan = ends.scan()
    assert next(scan.cells(), None) is None
    threading.Timer(0.1, ends.ends[ANSWERS].close).start()
    with pytest.raises(CannotConnectNow, match="did not answer to its end"):
        list(scan.batches())
    scan.close()
    until(lambda: ends.answering.fragments[0].is_closed)


def test_who_stops_gives_up_what_it_fetches(ends: Ends) -> None:
    ends.answering.made = lambda: large(1000)
    scan = ends.scan()
    next(scan.cells(), None)
    batches = scan.batches()
    next(batches)
    ends.ends[ASKS].close()
    began = time.monotonic()
    with pytest.raises(CannotConnectNow, match="it was given up"):
        list(batches)
    assert time.monotonic() - began < 5
    scan.close()
    assert not ends.channels._running
    # From now on it is asked in frames.
    ends.answering.made = lambda: iter([(batch(1), False)])
    ends.read()
    assert ends.answering.in_frames == 1


def test_what_cannot_be_read_is_no_silence(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr("tsdb.cluster.fragments.fetch.decode", broken)
    began = time.monotonic()
    with pytest.raises(CannotConnectNow, match="could not be read: the log says why"):
        ends.read()
    assert time.monotonic() - began < 5


# Who asks, and who answers


def test_where_nobody_listens_rows_come_in_frames_and_later_by_flight_again(
    ends: Ends, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "AGAIN_S", 0.5)
    place, ends.place = ends.place, Place(f"{HOST}:1", "n1")
    ends.answering.made = lambda: iter([(batch(1, 2), False)])
    for _ in range(3):
        assert len(rows(ends.read())) == 2
    assert ends.answering.in_frames == 3
    assert caplog.text.count("come over its other port") == 1
    # At another address it is tried at once.
    ends.place = place
    ends.read()
    assert ends.answering.in_frames == 3
    ends.place = None
    ends.read()
    assert ends.answering.in_frames == 4


def test_another_node_at_the_address_is_not_asked(ends: Ends) -> None:
    ends.place = Place(f"{HOST}:{ends.port}", "n3")
    ends.answering.made = lambda: iter([(batch(1), False)])
    assert len(rows(ends.read())) == 1
    assert ends.answering.in_frames == 1


def test_who_is_no_member_is_not_answered(ends: Ends) -> None:
    del ends.known["n2"]
    ends.answering.made = lambda: iter([(batch(1), False)])
    assert len(rows(ends.read())) == 1
    assert ends.answering.in_frames == 1


def test_who_has_no_certificate_of_the_cluster_is_not_answered(ends: Ends, tmp_path: Path) -> None:
    pem = ends.tls[ASKS].pem
    other = tmp_path / "other"
    write_pair(other, "n2", make_authority("another", 100, datetime.datetime.now(datetime.UTC)))
    strange = (other / "n2.crt").read_bytes(), (other / "n2.key").read_bytes()
    for certificate, key in ((None, None), strange):
        client = flight.FlightClient(
            f"grpc+tls://{HOST}:{ends.port}", tls_root_certs=pem.authority, cert_chain=certificate, private_key=key,
            override_hostname="tsdb:node:n1",
        )  # fmt: skip
        with client, pytest.raises(flight.FlightUnavailableError):
            list(client.do_action(flight.Action("x", b"")))
    assert ends.answering.asked == []


@pytest.mark.parametrize(
    "command", [b"", b"\x01", encode(Ask(1, LookAtHints())), encode(Answer(1, NotLeader(1, 1, 1)))], ids=range(4)
)
def test_what_is_no_fragment_is_refused(ends: Ends, command: bytes) -> None:
    pem = ends.tls[ASKS].pem
    client = flight.FlightClient(
        f"grpc+tls://{HOST}:{ends.port}", tls_root_certs=pem.authority, cert_chain=pem.certificate,
        private_key=pem.key, override_hostname="tsdb:node:n1",
    )  # fmt: skip
    with client:
        writer, reader = client.do_exchange(flight.FlightDescriptor.for_command(command))
        writer.write_metadata(b"?")
        answer, _ = decode(memoryview(reader.read_chunk().app_metadata))
        writer.done_writing()
        assert isinstance(answer, Answer)
        assert isinstance(answer.reply, Failed)
        assert answer.reply.error == "ProtocolViolation"
        for call in (lambda: client.do_get(flight.Ticket(b"x")), lambda: list(client.list_flights())):
            with pytest.raises((flight.FlightError, pa.ArrowNotImplementedError)):
                call()


def test_new_certificates_are_taken_by_both_ends_at_the_same_port(ends: Ends) -> None:
    ends.answering.made = lambda: iter([(batch(1), False)])
    ends.read()
    ends.answering.made = lambda: large(60)
    scan = ends.scan()
    assert next(scan.cells(), None) is None
    before = ends.ends[ANSWERS]._listener
    for node in (ANSWERS, ASKS):
        write_pair(ends.folder, f"n{node}")
        assert ends.tls[node].reload_if_changed()
    ends.ends[ANSWERS]._renew()
    after = ends.ends[ANSWERS]._listener
    assert before is not None
    assert after is not None
    assert after is not before
    assert after.port == before.port
    # What runs goes on.
    assert len(list(scan.batches())) == 60
    scan.close()
    ends.answering.made = lambda: iter([(batch(1), False)])
    assert len(rows(ends.read())) == 1
    assert ends.answering.in_frames == 0
    assert ends.channels.failed_count == 0
    assert ends.ends[ANSWERS].gauges()["fragments_sent_total"] == 3


def test_a_port_that_could_not_be_had_again_is_tried_again(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fragments, "_RENEWAL_S", 0.2)
    monkeypatch.setattr(fragments, "LOOK_S", 0.05)
    answering = ends.ends[ANSWERS]
    with monkeypatch.context() as patched:
        patched.setattr(fragments, "Listener", _no_listener)
        answering._renew()
        assert answering._listener is None
        assert "until port" in caplog.text
    running = asyncio.run_coroutine_threadsafe(answering.run(), ends.loop)
    until(lambda: answering._listener is not None)
    running.cancel()
    ends.answering.made = lambda: iter([(batch(1), False)])
    assert len(rows(ends.read())) == 1


def _no_listener(*_: object) -> None:
    raise OSError("no port")
