"""The listener under real clients (psycopg, psql) and rough ones (raw sockets)."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import logging
import shutil
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.wire import frontend
from tests.wire.fixed_session import STREAM_BATCHES, STREAM_ROWS, FixedSession, listening
from tsdb.errors import StartupError
from tsdb.wire import Limits, Listener, Tls

UTC = datetime.UTC
ROWS = [
    (datetime.datetime(2026, 11, 21, 1, 56, 6, 104756, UTC), "a", 1, 7, 0.1, True, decimal.Decimal("12.50"),
     datetime.date(2026, 11, 21), datetime.time(1), datetime.timedelta(days=2, seconds=3), b"\0\xff",
     uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), {"a": [1]}, ["x", None, "y z"]),
    (None, "b", -2, None, None, False, None, datetime.date(1970, 1, 1), datetime.time(0, 0, 0, 1), None, b"",
     None, None, []),
]  # fmt: skip


def run(test: Callable[[], Awaitable[None]], timeout_s: float = 60.0) -> None:
    """Run a test's coroutine on a loop of its own, for a bounded time."""
    asyncio.run(asyncio.wait_for(test(), timeout_s))


async def connect(listener: Listener, **arguments: Any) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        host="127.0.0.1", port=listener.port, user="ada", dbname="tsdb", autocommit=True, **arguments
    )


@asynccontextmanager
async def plain(listener: Listener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket that has said nothing yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def raw(listener: Listener) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket with a session on it, up to the first ReadyForQuery."""
    async with plain(listener) as (reader, writer):
        writer.write(frontend.startup(user="ada"))
        await reader.readuntil(b"Z\0\0\0\5I")
        yield reader, writer


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  (the condition is the product's, not ours to signal)
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_reads_every_type(binary: bool) -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            cursor = client.cursor(binary=binary)
            await cursor.execute("SELECT fixed")
            assert await cursor.fetchall() == ROWS
            assert cursor.rowcount == 2

    run(scenario)


@pytest.mark.parametrize("prepare", [False, True])
def test_psycopg_sends_parameters(prepare: bool) -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            for value in ("é", "", None, "x" * 100_000):
                cursor = await client.execute("SELECT %s", [value], prepare=prepare)
                assert await cursor.fetchall() == [(value,)]

    run(scenario)


def test_psycopg_pipelines() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            async with client.pipeline():
                cursors = [await client.execute("SELECT %s", [str(k)]) for k in range(200)]
            assert [await cursor.fetchall() for cursor in cursors] == [[(str(k),)] for k in range(200)]

    run(scenario)


def test_an_error_in_a_pipeline_skips_the_rest_of_its_batch() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            with pytest.raises(psycopg.errors.UndefinedTable) as caught:
                async with client.pipeline():
                    await client.execute("SELECT fail")
                    await client.execute("SELECT %s", ["never"])
            assert caught.value.diag.statement_position == "8"
            cursor = await client.execute("SELECT %s", ["after"])
            assert await cursor.fetchall() == [("after",)]

    run(scenario)


def test_psycopg_copies_in_and_out() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            cursor = client.cursor()
            async with cursor.copy("COPY in") as copy:
                for _ in range(1000):
                    await copy.write(b"x" * 1000)
            assert cursor.statusmessage == "COPY 1000000"
            async with cursor.copy("COPY out") as copy:
                assert [bytes(data) async for data in copy] == [b"1\n2\n"]
            with pytest.raises(ValueError, match="no more"):
                async with cursor.copy("COPY in"):
                    raise ValueError("no more")  # psycopg sends CopyFail
            await cursor.execute("SELECT %s", ["after"])

    run(scenario)


@pytest.mark.psql
@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_psql_prints_rows_and_errors() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _):
            client = await asyncio.create_subprocess_exec(
                *("psql", "-X", "-h", "127.0.0.1", "-p", str(listener.port), "-U", "ada", "-d", "tsdb", "-At"),
                *("-c", "SELECT fixed", "-c", "SELECT fail", "-c", ";"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": "/usr/bin:/usr/local/bin", "PGOPTIONS": "-c statement_timeout=5000"},
            )
            out, err = await client.communicate()
            assert out.decode().splitlines()[0] == (
                "2026-11-21 01:56:06.104756+00|a|1|7|0.1|t|12.50|2026-11-21|01:00:00|2 days 00:00:03|\\x00ff|"
                'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{"a": [1]}|{x,NULL,"y z"}'
            )
            assert err.decode().startswith('ERROR:  relation "fail" does not exist\nLINE 1: SELECT fail')

    run(scenario)


def test_a_running_statement_is_cancelled_from_another_connection() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), await connect(listener) as client:
            sleeping = asyncio.create_task(client.execute("SELECT sleep"))
            await until(lambda: sessions.made[0].asleep)
            await client.cancel_safe()  # over a connection of its own
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sleeping
            cursor = await client.execute("SELECT %s", ["after"])
            assert await cursor.fetchall() == [("after",)]

    run(scenario)


def test_a_cancel_needs_the_secret_key() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), await connect(listener) as client:
            sleeping = asyncio.create_task(client.execute("SELECT sleep"))
            await until(lambda: sessions.made[0].asleep)
            key = sessions.made[0]._client.secret_key
            assert not listener.cancel(client.info.backend_pid, key ^ 1)
            assert not listener.cancel(client.info.backend_pid + 1, key)
            async with plain(listener) as (reader, writer):
                writer.write(frontend.cancel_request(client.info.backend_pid, key ^ 1))
                assert await reader.read() == b""
                assert not sleeping.done()
                assert listener.cancel(client.info.backend_pid, key)
                with pytest.raises(psycopg.errors.QueryCanceled):
                    await sleeping

    run(scenario)


def test_a_client_that_does_not_read_neither_fills_memory_nor_slows_others() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), raw(listener) as (_, writer):
            writer.write(frontend.query("SELECT stream"))
            await until(lambda: sessions.made[0].batches_sent > 0)
            async with await connect(listener) as client:
                started = time.monotonic()
                for _ in range(50):
                    await client.execute("SELECT fixed")
                assert time.monotonic() - started < 30
            # What the kernel's socket buffers take, and our own megabyte: far from the whole result.
            assert sessions.made[0].batches_sent < STREAM_BATCHES // 4
            writer.transport.abort()
            await until(lambda: sessions.made[0].closed)

    run(scenario)


def test_a_large_result_arrives_whole() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            cursor = client.cursor()
            await cursor.execute("SELECT stream")
            assert cursor.rowcount == STREAM_ROWS * STREAM_BATCHES

    run(scenario, 300)


def test_one_connection_too_many_is_refused_with_53300() -> None:
    async def scenario() -> None:
        async with listening(Limits(connections_max=2)) as (listener, sessions):
            first, second = await connect(listener), await connect(listener)
            with pytest.raises(psycopg.OperationalError, match="too many clients"):
                await connect(listener)
            sleeping = asyncio.create_task(first.execute("SELECT sleep"))
            await until(lambda: sessions.made[0].asleep)
            await first.cancel_safe()  # comes over a third connection
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sleeping
            await second.close()
            await until(lambda: sessions.made[1].closed)
            async with await connect(listener):
                assert listener.session_count == 2
            await first.close()

    run(scenario)


def test_a_client_that_says_nothing_is_sent_away_in_time() -> None:
    async def scenario() -> None:
        # As long as a busy machine may take for a client that does say something.
        async with listening(Limits(startup_timeout_s=2)) as (listener, _):

            async def refused(said: bytes) -> None:
                async with plain(listener) as (reader, writer):
                    writer.write(said)
                    answer = (await reader.read()).removeprefix(b"N")
                    [(letter, body)] = frontend.split(answer)
                    assert letter == "E"
                    assert frontend.error_fields(body)["M"] == "canceling authentication due to timeout"

            async with await connect(listener) as client:
                await asyncio.gather(*(refused(said) for said in (b"", b"\0\0\0", frontend.SSL_REQUEST)))
                # Its own time would be over as well.
                await client.execute("SELECT fixed")

    run(scenario)


def test_closing_ends_idle_sessions_with_57p01_and_waits_for_running_ones() -> None:
    async def scenario() -> None:
        async with (
            listening() as (listener, sessions),
            raw(listener) as (idle, _),
            raw(listener) as (busy, writer),
        ):
            writer.write(frontend.query("SELECT sleep"))
            await until(lambda: sessions.made[1].asleep)
            closing = asyncio.create_task(listener.close(grace_s=1))
            [(_, body)] = frontend.split(await idle.read())
            assert frontend.error_fields(body)["C"] == "57P01"
            assert not closing.done()
            await closing
            codes = [
                frontend.error_fields(body)["C"] for letter, body in frontend.split(await busy.read()) if letter == "E"
            ]
            assert codes == ["57014", "57P01"]
            assert all(session.closed for session in sessions.made)
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", listener.port)

    run(scenario)


def test_closing_does_not_wait_for_a_client_that_never_reads() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), raw(listener) as (_, writer):
            writer.write(frontend.query("SELECT stream"))
            await until(lambda: sessions.made[0].batches_sent > 0)
            await asyncio.wait_for(listener.close(grace_s=0.1), 30)
            assert sessions.made[0].closed

    run(scenario)


def test_a_session_is_terminated_by_its_process_id() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), await connect(listener) as client:
            assert not listener.terminate(client.info.backend_pid + 1)
            sleeping = asyncio.create_task(client.execute("SELECT sleep"))
            await until(lambda: sessions.made[0].asleep)
            assert listener.terminate(client.info.backend_pid)
            with pytest.raises(psycopg.Error):
                await sleeping
            with pytest.raises(psycopg.OperationalError):
                await client.execute("SELECT fixed")

    run(scenario)


def test_a_vanished_client_cancels_its_statement() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), raw(listener) as (_, writer):
            writer.write(frontend.query("SELECT sleep"))
            await until(lambda: sessions.made[0].asleep)
            writer.transport.abort()
            await until(lambda: sessions.made[0].closed)
            assert listener.session_count == 0

    run(scenario)


def test_a_client_that_stops_sending_still_gets_its_answers() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), raw(listener) as (reader, writer):
            writer.write(frontend.query(" ") + frontend.query("SELECT fixed"))
            writer.write_eof()
            answer = "".join(letter for letter, _ in frontend.split(await reader.read()))
            assert answer == "IZTDDCZ"

    run(scenario)


@pytest.mark.parametrize("octets", [b"\xff" * 100, b"\0" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"hello\n"])
def test_garbage_gets_one_error_and_the_connection_ends(octets: bytes) -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), plain(listener) as (reader, writer):
            writer.write(octets)
            [(letter, body)] = frontend.split(await reader.read())
            assert letter == "E"
            assert frontend.error_fields(body)["S"] == "FATAL"
            assert frontend.error_fields(body)["C"] == "08P01"
            assert sessions.made == []

    run(scenario)


def test_garbage_within_a_session_ends_it_and_no_other() -> None:
    async def scenario() -> None:
        async with (
            listening() as (listener, sessions),
            await connect(listener) as other,
            raw(listener) as (reader, writer),
        ):
            writer.write(b"\xfe\0\0\0\4")
            [(_, body)] = frontend.split(await reader.read())
            assert frontend.error_fields(body)["M"] == "invalid frontend message type 254"
            assert sessions.made[1].closed
            await other.execute("SELECT fixed")

    run(scenario)


def test_an_unforeseen_failure_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with listening() as (listener, _), await connect(listener) as client:
            with pytest.raises(psycopg.errors.InternalError_) as caught:
                await client.execute("SELECT crash")
            assert "secret" not in str(caught.value)

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "a secret that no client may see" in caplog.text


def test_a_session_that_forgets_to_answer_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(FixedSession):
        async def handle(self, event: Any) -> None:
            return None

    async def scenario() -> None:
        listener = Listener(Silent)
        await listener.start()
        async with plain(listener) as (reader, writer):
            writer.write(frontend.startup(user="ada"))
            [(_, body)] = frontend.split(await reader.read())
            assert frontend.error_fields(body)["C"] == "XX000"
            await listener.close()

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "left a message unanswered" in caplog.text


def test_a_taken_port_is_a_startup_error() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions):
            with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1:{listener.port}"):
                await Listener(sessions, port=listener.port).start()

    run(scenario)


def test_a_long_pipeline_is_read_piece_by_piece() -> None:
    async def scenario() -> None:
        async with listening() as (listener, sessions), raw(listener) as (reader, writer):
            writer.write(frontend.query("SELECT sleep"))
            await until(lambda: sessions.made[0].asleep)
            writer.write(frontend.query("x" * 1000) * 20_000)
            await asyncio.sleep(0.2)
            session = sessions.made[0]
            assert session._connection.buffered_bytes < 2_000_000
            session.cancel()
            listener.terminate(session._client.process_id)
            with suppress(ConnectionResetError):  # the rest of the pipeline was not read
                await reader.read()

    run(scenario)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")
    key, chain = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(chain)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, chain


def test_tls_is_spoken_when_it_is_configured(certificate: tuple[Path, Path]) -> None:
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)

    async def scenario() -> None:
        async with listening(tls=Tls(context)) as (listener, sessions):
            async with await connect(listener, sslmode="require") as client:
                assert sessions.made[0]._client.encrypted
                cursor = await client.execute("SELECT fixed")
                assert await cursor.fetchall() == ROWS
                await client.execute("SELECT stream")
            async with plain(listener) as (reader, writer):
                writer.write(frontend.SSL_REQUEST + frontend.startup(user="mallory"))
                [(_, body)] = frontend.split(await reader.read())
                assert "unencrypted" in frontend.error_fields(body)["M"]

    run(scenario, 300)


def test_without_tls_a_client_may_insist_and_leaves() -> None:
    async def scenario() -> None:
        async with listening() as (listener, _):
            with pytest.raises(psycopg.OperationalError, match="SSL"):
                await connect(listener, sslmode="require")

    run(scenario)
