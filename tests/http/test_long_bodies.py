"""Bodies that are written in pieces: good lines are stored, bad ones named by their number, wherever they stand."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable

import pyarrow as pa
import pytest

from tests.http.test_write import NOW, Client, client
from tsdb.http import body, writes

__all__ = ["client"]

LINES = 3000


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is long is short here."""
    monkeypatch.setattr(body, "LONG_BYTES", 10_000)
    monkeypatch.setattr(writes, "PIECE_BYTES", 4_000)


def text(bad: tuple[int, ...] = (), form: str = "m,w=w f={i} {t}") -> str:
    return "".join("m f=bad\n" if i in bad else form.format(i=i, t=NOW + i) + "\n" for i in range(1, LINES + 1))


ENCODED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda octets: octets,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda octets: pa.compress(octets, "zstd", asbytes=True),
}


@pytest.mark.parametrize("encoding", list(ENCODED))
def test_bad_lines_are_named_by_their_numbers_and_all_others_are_there(client: Client, encoding: str) -> None:
    bad = (1, 777, LINES)
    octets = ENCODED[encoding](text(bad).encode())
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = client.write(octets, "/api/v3/write_lp?db=d", headers)
    assert answer.status_code == 400
    assert [each["line_number"] for each in answer.json()["data"]] == list(bad)
    assert len(client.rows("m")) == LINES - len(bad)
    assert client.write(ENCODED[encoding](text().encode()), "/write?db=d", headers).status_code == 204
    assert len(client.rows("m")) == LINES


def test_a_body_that_is_all_or_nothing_is_no_pieces(client: Client) -> None:
    client.write("other f=1")
    answer = client.write(text((LINES,)), "/api/v3/write_lp?db=d&accept_partial=false")
    assert answer.status_code == 400
    assert "m" not in client.node.catalog.find("d").series


def test_a_numbered_body_is_applied_once_as_a_whole(client: Client) -> None:
    headers = {"X-Tsdb-Producer": "p", "X-Tsdb-Batch": "1"}
    for form, status in (("m,w=w f={i} {t}", 204), ("m,w=w f={i} {t}", 204), ("m,w=other f={i} {t}", 409)):
        assert client.write(text(form=form), headers=headers).status_code == status
    assert len(client.rows("m")) == LINES


def test_a_chunked_body_of_unknown_length_is_taken_in_pieces_and_bounded(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        octets = text().encode()
        for at in range(0, len(octets), 1_000):
            yield octets[at : at + 1_000]

    assert client.request("POST", "/write?db=d", content=chunks()).status_code == 204
    assert len(client.rows("m")) == LINES


def test_what_is_refused_half_way_is_a_partial_write_in_influxdbs_words(client: Client) -> None:
    octets = gzip.compress(text().encode() + b"x" * 50_000)
    answer = client.write(octets[:-20], "/write?db=d", {"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    stored = len(client.rows("m"))
    assert stored > 100
    assert answer.json()["error"] == (
        f"partial write: invalid gzip body: it ends too early; the {stored} points before are stored"
    )


def test_each_byte_of_a_body_is_counted_once(client: Client) -> None:
    def counted() -> float:
        lines = client.request("GET", "/metrics").text.splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("tsdb_body_bytes_total")))

    total = 0
    # New columns are given up on the event loop, a bad line sends each body of those that came together by itself.
    for sent in ["m f=1 1", "m f=1 2", *(f"m g{i}=1 {i}" for i in range(20)), "m f=bad 1", text()]:
        client.write(sent)
        total += len(sent)
        assert counted() == total
    client.write(gzip.compress(text().encode()), headers={"Content-Encoding": "gzip"})
    assert counted() == total + len(text())


def test_a_gzip_body_that_breaks_off_is_400(client: Client) -> None:
    whole = gzip.compress(text().encode())
    for octets in (whole[:-20], whole[: len(whole) // 2], whole[:12]):
        answer = client.write(octets, "/write?db=d", {"Content-Encoding": "gzip"})
        assert answer.status_code == 400
        assert "ends too early" in answer.json()["error"]
    assert client.write(whole + whole, "/write?db=d", {"Content-Encoding": "gzip"}).status_code == 204
    assert len(client.rows("m")) == LINES
