"""What a write request asks for, by API, and its body's content encodings.

Sources: InfluxDB 1.12 and 2.7 API reference (``/write``, ``/api/v2/write``), InfluxDB 3 Core API
(``/api/v3/write_lp``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from enum import Enum

import pyarrow as pa

from tsdb.ingest.write import WriteRequest
from tsdb.model.acks import acks_of
from tsdb.model.store import Producer

PRODUCER_HEADER = "x-tsdb-producer"
BATCH_HEADER = "x-tsdb-batch"
ACKS_HEADER = "x-tsdb-acks"
QUEUE_HEADER = "x-tsdb-queue"
MAX_PRODUCER_BYTES = 64

_V3_PRECISIONS = {"nanosecond": "ns", "microsecond": "us", "millisecond": "ms", "second": "s", "auto": "auto"}
V2_PRECISIONS = ("ns", "us", "ms", "s")
_BOOLEANS = {"true": True, "t": True, "1": True, "": True, "false": False, "f": False, "0": False}


class Api(Enum):
    """Which server's contract an endpoint keeps."""

    V1 = "/write"
    V2 = "/api/v2/write"
    V3 = "/api/v3/write_lp"


class BadRequest(Exception):
    """A request that cannot be served as it is; ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class SlowBody(BadRequest):
    """A body that came too slowly to wait for. 503, not 408: Telegraf drops what a 4xx refused."""

    def __init__(self, bytes_min: int, seconds: float) -> None:
        super().__init__(f"the body came too slowly: less than {bytes_min} bytes in {seconds:g} s; send it again", 503)


def write_request(api: Api, query: Mapping[str, str], headers: Mapping[str, str], default: str = "") -> WriteRequest:
    """The write an HTTP request asks for. Raises BadRequest.

    ``default`` is the database of a ``/write`` that names none.
    """
    database = query.get("bucket" if api is Api.V2 else "db", "") or (default if api is Api.V1 else "")
    if api is Api.V2:
        database = database.partition("/")[0]
    if not database:
        raise BadRequest("bucket is required" if api is Api.V2 else "database is required")
    if "\ufffd" in database:
        raise BadRequest("the name of the database is not valid UTF-8")
    precision = query.get("precision") or "ns"
    if api is Api.V3:
        precision = _V3_PRECISIONS.get(precision, precision)
    if api is Api.V2 and precision not in V2_PRECISIONS:
        raise BadRequest(f'invalid precision "{precision[:40]}" (use ns, us, ms or s)')
    producer = _producer(headers)
    return WriteRequest(
        database, precision, _accept_partial(query), producer, _acks(headers), _queue(headers, producer)
    )


def _accept_partial(query: Mapping[str, str]) -> bool:
    text = query.get("accept_partial", "true")
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise BadRequest(f"accept_partial {text[:40]!r} is not true or false")
    return found


def _acks(headers: Mapping[str, str]) -> int | None:
    text = headers.get(ACKS_HEADER)
    if text is None:
        return None
    try:
        return acks_of(text)
    except ValueError:
        raise BadRequest(f"X-Tsdb-Acks {text[:40]!r} is none of quorum, all and a number from 0 to 99") from None


def _queue(headers: Mapping[str, str], producer: Producer | None) -> bool:
    text = headers.get(QUEUE_HEADER)
    if text is None:
        return False
    found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise BadRequest(f"X-Tsdb-Queue {text[:40]!r} is not true or false")
    if found and producer is None:
        raise BadRequest(
            "X-Tsdb-Queue needs X-Tsdb-Producer and X-Tsdb-Batch: by its number a batch that waits counts once"
        )
    return found


def _producer(headers: Mapping[str, str]) -> Producer | None:
    name, batch = headers.get(PRODUCER_HEADER), headers.get(BATCH_HEADER)
    if name is None and batch is None:
        return None
    if not name or batch is None:
        raise BadRequest("X-Tsdb-Producer and X-Tsdb-Batch go together: a name and a number from 1")
    if len(name.encode()) > MAX_PRODUCER_BYTES:
        raise BadRequest(f"X-Tsdb-Producer is longer than {MAX_PRODUCER_BYTES} bytes")
    if not (batch.isascii() and batch.isdigit() and 1 <= len(batch) <= 19 and 1 <= int(batch) < 2**63):
        raise BadRequest(f"X-Tsdb-Batch {batch[:40]!r} is not a number from 1 to 9223372036854775807")
    return Producer(name, int(batch))


def decode_body(body: bytes | bytearray, encoding: str, limit: int) -> bytes | bytearray:
    """The body without its content encoding, at most ``limit`` bytes. Raises BadRequest (400, 413 or 415)."""
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip" | "deflate" | "zstd":
            pieces = list(decoded_pieces(body, encoding, limit, limit + 1))
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    raise BadRequest(f"content encoding {encoding[:40]!r} is not supported (use gzip, deflate or zstd)", 415)


def too_large(limit: int) -> BadRequest:
    return BadRequest(f"Request Entity Too Large: the limit is {limit} bytes", 413)


def decoded_pieces(body: bytes | bytearray, encoding: str, limit: int, size: int) -> Iterator[bytes | bytearray]:
    """What ``decode_body`` gives, in pieces of ``size`` bytes, the last may be shorter: what a body holds may be a
    thousand times as long as itself."""
    pieces: Iterator[bytes | bytearray]
    match encoding.strip().lower():
        case "gzip" | "x-gzip":
            pieces = _inflated(body, 31, "gzip", size)
        case "deflate":
            # RFC 9110 8.4.1.2 means zlib's format; some clients send the raw stream.
            zlib_format = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
            pieces = _inflated(body, 15 if zlib_format else -15, "deflate", size)
        case "zstd":
            pieces = _unzstd(body, size)
        case _:
            pieces = iter([decode_body(body, encoding, limit)])
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise too_large(limit)
        yield piece


def _inflated(body: bytes | bytearray, window_bits: int, name: str, size: int) -> Iterator[bytearray]:
    out = bytearray()
    rest: bytes | bytearray = body
    while rest:
        stream = zlib.decompressobj(window_bits)
        while not stream.eof:
            before = len(out), len(rest)
            try:
                out += stream.decompress(rest, size - len(out))
            except zlib.error as error:
                raise BadRequest(f"invalid {name} body: {error}") from None
            rest = stream.unconsumed_tail
            if len(out) == size:
                yield out
                out = bytearray()
            elif before == (len(out), len(rest)) or (not rest and not stream.eof):
                raise BadRequest(f"invalid {name} body: it ends too early")
        rest = stream.unused_data
    if out:
        yield out


def _unzstd(body: bytes | bytearray, size: int) -> Iterator[bytes]:
    try:
        with pa.CompressedInputStream(pa.BufferReader(bytes(body)), "zstd") as stream:
            while piece := stream.read(size):
                yield piece
    except (OSError, pa.ArrowException) as error:
        raise BadRequest(f"invalid zstd body: {error}") from None
