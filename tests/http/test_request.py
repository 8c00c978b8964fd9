"""Parameters of a write by API, and content encodings at their edges."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsdb.http.request import Api, BadRequest, decode_body, write_request
from tsdb.model.acks import ALL, QUORUM
from tsdb.model.store import Producer

LIMIT = 10_000


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd,
    "identity": bytes,
}


@pytest.mark.parametrize(
    ("api", "query", "database", "precision"),
    [
        (Api.V1, {"db": "a"}, "a", "ns"),
        (Api.V1, {"db": "a", "rp": "autogen", "precision": "ms"}, "a", "ms"),
        (Api.V2, {"bucket": "a/autogen", "org": "o", "precision": "s"}, "a", "s"),
        (Api.V3, {"db": "a", "precision": "millisecond"}, "a", "ms"),
        (Api.V3, {"db": "a", "precision": "auto"}, "a", "auto"),
    ],
)
def test_each_api_names_database_and_precision_its_own_way(
    api: Api, query: dict[str, str], database: str, precision: str
) -> None:
    request = write_request(api, query, {})
    assert (request.database, request.precision) == (database, precision)


@pytest.mark.parametrize("precision", ["n", "u", "µs", "m", "h", "nanosecond", "auto", "S", "fortnight"])
def test_version_two_refuses_precisions_that_influxdb_two_does_not_have(precision: str) -> None:
    with pytest.raises(BadRequest, match="invalid precision"):
        write_request(Api.V2, {"bucket": "a", "precision": precision}, {})


@pytest.mark.parametrize("api", list(Api))
def test_a_write_without_a_database_is_refused(api: Api) -> None:
    with pytest.raises(BadRequest, match="is required"):
        write_request(api, {}, {})


def test_accept_partial_is_true_or_false() -> None:
    assert write_request(Api.V3, {"db": "a", "accept_partial": "True"}, {}).accept_partial
    with pytest.raises(BadRequest, match="not true or false"):
        write_request(Api.V3, {"db": "a", "accept_partial": "maybe"}, {})


def test_a_database_whose_name_was_not_utf8_is_refused() -> None:
    with pytest.raises(BadRequest, match="not valid UTF-8"):
        write_request(Api.V1, {"db": "a\ufffd"}, {})


def test_accept_partial_false_is_taken_at_its_word() -> None:
    assert not write_request(Api.V3, {"db": "a", "accept_partial": "false"}, {}).accept_partial
    assert write_request(Api.V3, {"db": "a"}, {}).accept_partial


def test_producer_and_batch_come_from_headers() -> None:
    headers = {"x-tsdb-producer": "agent-7", "x-tsdb-batch": "42"}
    assert write_request(Api.V1, {"db": "a"}, headers).producer == Producer("agent-7", 42)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-tsdb-producer": "a"},
        {"x-tsdb-batch": "1"},
        {"x-tsdb-producer": "", "x-tsdb-batch": "1"},
        {"x-tsdb-producer": "a" * 65, "x-tsdb-batch": "1"},
        {"x-tsdb-producer": "a", "x-tsdb-batch": "0"},
        {"x-tsdb-producer": "a", "x-tsdb-batch": "-1"},
        {"x-tsdb-producer": "a", "x-tsdb-batch": "9223372036854775808"},
        {"x-tsdb-producer": "a", "x-tsdb-batch": "9" * 5000},
        {"x-tsdb-producer": "a", "x-tsdb-batch": "one"},
    ],
)
def test_half_or_wrong_batch_numbers_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        write_request(Api.V1, {"db": "a"}, headers)


@pytest.mark.parametrize("encoding", ENCODERS)
@given(body=st.binary(max_size=LIMIT))
def test_every_encoding_gives_the_body_back(encoding: str, body: bytes) -> None:
    assert bytes(decode_body(ENCODERS[encoding](body), encoding, LIMIT)) == body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_body_that_grows_past_the_limit_is_413(encoding: str) -> None:
    assert len(decode_body(ENCODERS[encoding](b"x" * LIMIT), encoding, LIMIT)) == LIMIT
    with pytest.raises(BadRequest) as caught:
        decode_body(ENCODERS[encoding](b"x" * (LIMIT + 1)), encoding, LIMIT)
    assert caught.value.status == 413


def test_a_gzip_body_may_have_several_members() -> None:
    assert decode_body(gzip.compress(b"ab") + gzip.compress(b"cd"), "gzip", LIMIT) == b"abcd"


def test_a_raw_deflate_stream_is_taken_too() -> None:
    raw = zlib.compressobj(wbits=-15)
    assert decode_body(raw.compress(b"m f=1") + raw.flush(), "deflate", LIMIT) == b"m f=1"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@given(noise=st.binary(min_size=1, max_size=200))
def test_noise_is_a_bad_request_and_nothing_else(encoding: str, noise: bytes) -> None:
    try:
        decode_body(noise, encoding, LIMIT)
    except BadRequest as error:
        assert error.status in (400, 413)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_cut_body_is_refused(encoding: str) -> None:
    whole = ENCODERS[encoding](b"m f=1\n" * 50)
    with pytest.raises(BadRequest, match="invalid"):
        decode_body(whole[:-3], encoding, LIMIT)


def test_an_unknown_encoding_is_415() -> None:
    with pytest.raises(BadRequest) as caught:
        decode_body(b"", "br", LIMIT)
    assert caught.value.status == 415


@pytest.mark.parametrize(("text", "acks"), [("quorum", QUORUM), ("All", ALL), ("0", 0), (" 12 ", 12)])
def test_a_write_says_on_how_many_replicas_it_is_to_be(text: str, acks: int) -> None:
    assert write_request(Api.V1, {"db": "a"}, {"x-tsdb-acks": text}).acks == acks
    assert write_request(Api.V1, {"db": "a"}, {}).acks is None


@pytest.mark.parametrize("text", ["", "most", "-1", "100", "1.0", "٣", "all,1"])
def test_what_is_no_number_of_replicas_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="X-Tsdb-Acks"):
        write_request(Api.V1, {"db": "a"}, {"x-tsdb-acks": text})
