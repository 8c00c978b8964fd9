"""The TCP listener: lines of a stream, stored in order, with back-pressure; numbered batches, answered."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import replace

from tsdb.errors import InvalidParameterValue, OutOfMemory, StartupError, TsdbError
from tsdb.ingest.outcome import outcome_text, status_of
from tsdb.ingest.stream import LineStream
from tsdb.ingest.write import WriteRequest
from tsdb.lines import command
from tsdb.lines.writer import LineWriter

CONNECTIONS_MAX = 1_000
# Lines of a connection that are stored together, and so what is read ahead while others of it are being stored.
BATCH_BYTES = 1 << 20
READ_BYTES = 256 << 10
# An open string may be closed by bytes to come: for so long.
OPEN_STRING_SECONDS = 10.0


class TcpLines:
    """Listens on one address. ``port`` 0 takes any free port; after ``start``, ``port`` says which."""

    def __init__(self, writer: LineWriter, host: str, port: int) -> None:
        self._writer = writer
        self._host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self.held_bytes = 0

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Bind and accept. Raises StartupError."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, limit=READ_BYTES, ssl=tls)
        except OSError as error:
            why = f"cannot listen on {self._host}:{self.port} for line protocol over TCP: {error.strerror}"
            raise StartupError(why) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_s: float) -> None:
        """Read no more, store the lines that are whole, for ``grace_s`` at most."""
        if self._server is not None:
            self._server.close()
        self._stopping.set()
        if self._tasks:
            _, running = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        host = str((writer.get_extra_info("peername") or ("",))[0])
        if len(self._tasks) >= CONNECTIONS_MAX:
            self._writer.tell(host, f"more than {CONNECTIONS_MAX} connections")
            writer.close()
            return
        self._tasks.add(task)
        connection = _Connection(self, self._writer, reader, writer, host, self._stopping)
        try:
            await connection.run()
        except TsdbError as error:
            self._writer.tell(host, error.message)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.held_bytes -= connection.held
            writer.close()


class _Connection:
    """One client's stream, from its first line on."""

    def __init__(
        self,
        listener: TcpLines,
        lines: LineWriter,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        stopping: asyncio.Event,
    ) -> None:
        self._listener = listener
        self._lines = lines
        self._reader = reader
        self._writer = writer
        self._host = host
        self._stopped = asyncio.ensure_future(stopping.wait())
        self._stream = LineStream(lines.options.limits.line_bytes_max)
        self._batch = bytearray()
        self._ended = False
        self.held = 0

    async def run(self) -> None:
        """Raises TsdbError for what ends the connection."""
        try:
            role = self._lines.role_of(self._host)
            while not self._batch and not self._ended:
                await self._read()
            request = self._lines.options.request
            if command.is_command(self._batch):
                request = await self._command()
            if request.producer is None:
                await self._plain(request, role)
            else:
                await self._numbered(request, role)
        finally:
            self._stopped.cancel()

    async def _read(self) -> None:
        """More lines into the batch, or the end: the client's, or the server's."""
        reading = asyncio.ensure_future(self._reader.read(READ_BYTES))
        wait_s = OPEN_STRING_SECONDS if self._stream.pending else None
        await asyncio.wait({reading, self._stopped}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            if self._stopped.done():
                self._ended = True
            else:
                self._batch += self._stream.cut()
        else:
            data = reading.result()
            self._ended = not data
            self._stream.feed(data)
            self._batch += self._stream.take()
            if self._ended:
                # Nothing to come closes a string: what has its newline is a line.
                self._batch += self._stream.cut()
        self._hold()

    def _hold(self) -> None:
        held = len(self._batch) + self._stream.pending
        self._listener.held_bytes += held - self.held
        self.held = held
        if self._listener.held_bytes > self._lines.options.body_bytes_max and self._stream.pending > READ_BYTES:
            self._batch += self._stream.cut()

    def _taken(self) -> bytearray:
        taken, self._batch = self._batch, bytearray()
        self._hold()
        return taken

    async def _command(self) -> WriteRequest:
        """Take the first line, which says what the others are for."""
        end = self._batch.index(b"\n")
        line = bytes(self._batch[:end])
        del self._batch[: end + 1]
        try:
            return command.read(line, self._lines.options.request)
        except InvalidParameterValue as error:
            await self._answer(400, error.message)
            raise

    async def _plain(self, request: WriteRequest, role: int) -> None:
        """Store lines while the next are read, one write at a time."""
        reading: asyncio.Future[None] | None = None
        writing: asyncio.Future[None] | None = None
        try:
            while True:
                if self._batch and writing is None:
                    writing = self._store(request, role)
                if not self._ended and reading is None and len(self._batch) < BATCH_BYTES:
                    reading = asyncio.ensure_future(self._read())
                under_way = [future for future in (reading, writing) if future is not None]
                if not under_way:
                    break
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                if reading is not None and reading.done():
                    await reading
                    reading = None
                if writing is not None and writing.done():
                    await writing
                    writing = None
        finally:
            for future in (reading, writing):
                if future is not None:
                    future.cancel()
        if self._stream.pending and not self._stopped.done():
            self._lines.counts.rejected += 1
            self._lines.tell(self._host, "the stream ended within a line, which is not stored")

    def _store(self, request: WriteRequest, role: int) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._lines.write_patiently(self._taken(), request, role, self._host))

    # ---- numbered batches

    async def _numbered(self, request: WriteRequest, role: int) -> None:
        while True:
            body = await self._whole_batch()
            if body is None:
                return
            status, text = await self._write_numbered(body, request, role)
            await self._answer(status, text)
            while not self._batch and not self._ended:
                await self._read()
            if not self._batch:
                return
            if not command.is_command(self._batch):
                await self._answer(400, "behind a numbered batch comes another one")
                return
            request = await self._command()
            if request.producer is None:
                await self._answer(400, "behind a numbered batch comes another one")
                return

    async def _whole_batch(self) -> bytearray | None:
        """The lines up to ``# tsdb: end``. A stream that ends before says nothing about what was to come: None."""
        looked = 0
        while (end := command.end_of_batch(self._batch, looked)) is None:
            looked = len(self._batch)
            if self._ended:
                self._lines.tell(self._host, 'a numbered batch without "# tsdb: end" is not stored')
                return None
            if looked + self._stream.pending > self._lines.options.body_bytes_max:
                await self._answer(413, f"a numbered batch has at most {self._lines.options.body_bytes_max} bytes")
                return None
            if self._listener.held_bytes > 4 * self._lines.options.body_bytes_max:
                raise OutOfMemory("too many bytes of numbered batches wait for their end")
            await self._read()
        body = self._batch[: end[0]]
        del self._batch[: end[1]]
        self._hold()
        return body

    async def _write_numbered(self, body: bytearray, request: WriteRequest, role: int) -> tuple[int, str]:
        try:
            outcome = await self._lines.write(body, replace(request, accept_partial=True), role)
        except Exception as error:
            status = status_of(error)
            return status, str(error) if status != 500 else "internal error; the server's log says more"
        assert request.producer is not None
        if outcome.dropped:
            return 400, outcome_text(outcome, partial=outcome.written > 0)
        short = ", on no more than a majority of the replicas" if outcome.fell_short else ""
        return 204, f"batch {request.producer.batch}: {outcome.written} points{short}"

    async def _answer(self, status: int, text: str) -> None:
        self._writer.write(f"{status} {' '.join(text.split())}\n".encode())
        await self._writer.drain()
