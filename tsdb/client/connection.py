"""``connect`` and the client that it gives."""

from __future__ import annotations

import base64
import json
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from tsdb.client.failures import raised, restated
from tsdb.client.parameters import text_of
from tsdb.client.tables import batches_of

FLIGHT_PORT = 5481
ROWS_PER_BATCH = 65_536


def connect(
    host: str = "127.0.0.1",
    port: int = FLIGHT_PORT,
    *,
    database: str = "tsdb",
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
    tls: bool = False,
    root_certificates: bytes | str | Path | None = None,
) -> Client:
    """A client of the server at ``host`` and ``port`` (its setting ``flight_port``). Nothing is sent yet.

    ``user`` with ``password``, or an API ``token`` (CREATE TOKEN), where the server asks for one. ``tls`` encrypts;
    ``root_certificates`` (PEM, or the path of a file) are those that the server's is checked by, by default the
    system's. Raises ValueError for a user beside a token.
    """
    if token is not None and user is not None:
        raise ValueError("give a user with a password, or a token, not both")
    if isinstance(root_certificates, str | Path):
        root_certificates = Path(root_certificates).read_bytes()
    scheme = "grpc+tls" if tls or root_certificates is not None else "grpc+tcp"
    shown = f"[{host}]" if ":" in host else host
    headers = []
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    elif user is not None:
        pair = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
        headers.append((b"authorization", f"Basic {pair}".encode()))
    made = flight.FlightClient(f"{scheme}://{shown}:{port}", tls_root_certs=root_certificates)
    return Client(made, database, headers)


class Client:
    """Writes tables and runs statements. ``connect`` makes it; several threads may use it; close it at the end."""

    def __init__(self, made: flight.FlightClient, database: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._flight = made
        self._database = database
        self._headers = list(headers)

    def query(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        database: str | None = None,
        numeric: str = "float64",
        timeout_s: float | None = None,
    ) -> pa.Table:
        """Run one statement and return all its rows; a statement without rows gives a table without columns.

        ``parameters`` are the values of ``$1``, ``$2`` …. ``numeric`` says what numbers of SQL's type numeric without
        a declared scale (``avg`` of integers, for one) come as: ``float64``, or exactly as ``text``. ``timeout_s`` is
        the statement's time on the server, in seconds. Raises the server's error, a class of ``tsdb.errors``.
        """
        with self.stream(sql, parameters, database=database, numeric=numeric, timeout_s=timeout_s) as result:
            return pa.Table.from_batches(list(result), result.schema)

    def stream(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        database: str | None = None,
        numeric: str = "float64",
        timeout_s: float | None = None,
    ) -> Result:
        """As ``query``, but batch by batch, as fast as they are read: for results larger than memory.

        Use it in a ``with`` block: leaving it early cancels the statement.
        """
        asked: dict[str, Any] = {"sql": sql, "database": database or self._database, "numeric": numeric}
        if parameters:
            asked["parameters"] = [text_of(value) for value in parameters]
        settings = {"application_name": "tsdb.client"}
        if timeout_s is not None:
            settings["statement_timeout"] = f"{max(1, round(timeout_s * 1000))}ms"
        asked["settings"] = settings
        with raised():
            return Result(self._flight.do_get(flight.Ticket(json.dumps(asked).encode()), self._options()))

    def write(
        self,
        data: Any,
        series: str,
        *,
        tags: Sequence[str] = (),
        time: str = "time",
        database: str | None = None,
        producer: str | None = None,
        batch: int | None = None,
        rows_per_batch: int = ROWS_PER_BATCH,
        acks: str | int | None = None,
    ) -> int:
        """Store a table's rows as points of a series, and return how many they are once all are on disk and visible.

        ``data`` is a pandas or polars data frame, a ``pyarrow.Table``, ``RecordBatch`` or ``RecordBatchReader``, or
        anything that Arrow's C stream interface reads. ``time`` names the column of times (of pandas, the index or a
        level of it with that name, or a DatetimeIndex without a name), ``tags`` the columns that say who is measured;
        all others are fields. Series and columns that are not there are made; ``tags`` need only be named then. A row
        with the same tags and time as one that is stored replaces its fields.

        Rows go in batches of ``rows_per_batch``; each is stored as a whole or not at all. When one is refused, those
        before it stay, and the error's detail says how many rows they are. With ``producer`` (a name) and ``batch`` (a
        number from 1) all rows are one numbered batch: written again, it is not stored twice.

        ``acks`` says on how many replicas each batch is to be (``"quorum"``, ``"all"`` or a number), instead of what
        the series says. Where a majority had one in time and no more a UserWarning says so.

        Raises the server's error (a class of ``tsdb.errors``), TypeError for data that is no table.
        """
        reader = batches_of(data, time, rows_per_batch)
        put: dict[str, Any] = {"series": series, "database": database or self._database, "time": time}
        put |= {"tags": list(tags)} | ({} if acks is None else {"acks": acks})
        if producer is not None or batch is not None:
            held = list(reader)
            put |= {"producer": producer or "", "batch": batch or 0, "rows": sum(each.num_rows for each in held)}
            reader = pa.RecordBatchReader.from_batches(reader.schema, held)
        descriptor = flight.FlightDescriptor.for_command(json.dumps(put).encode())
        with raised():
            writer, acknowledged = self._flight.do_put(descriptor, reader.schema, self._options())
            return _Sending(writer, acknowledged).all_of(reader)

    def version(self) -> str:
        """What the server calls itself, such as ``tsdb 0.1.0``."""
        with raised():
            results = list(self._flight.do_action(flight.Action("version", b""), self._options()))
        return str(results[0].body.to_pybytes(), "utf-8")

    def close(self) -> None:
        self._flight.close()

    def _options(self) -> flight.FlightCallOptions:
        return flight.FlightCallOptions(headers=self._headers)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Result:
    """The batches of a running statement: iterate it, in a ``with`` block."""

    def __init__(self, reader: flight.FlightStreamReader) -> None:
        self._reader = reader
        self._ended = False

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types; a field's metadata ``tsdb:type`` is its SQL type."""
        with raised():
            return self._reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        # Not read_all: of a cancelled statement it makes a KeyboardInterrupt.
        while not self._ended:
            with raised():
                try:
                    batch = self._reader.read_chunk().data
                except StopIteration:
                    self._ended = True
                    return
            yield batch

    def close(self) -> None:
        """Cancel the statement if it still runs."""
        if not self._ended:
            self._ended = True
            self._reader.cancel()

    def __enter__(self) -> Result:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Sending:
    """One DoPut: batches go out here, acknowledgements are read in a thread, so that neither waits for the other."""

    def __init__(self, writer: flight.FlightStreamWriter, acknowledged: flight.FlightMetadataReader) -> None:
        self._writer = writer
        self._acknowledged = acknowledged
        self._last: Mapping[str, Any] = {"rows": 0}

    def all_of(self, reader: pa.RecordBatchReader) -> int:
        reading = threading.Thread(target=self._read, name="tsdb-acknowledged", daemon=True)
        reading.start()
        try:
            for batch in reader:
                self._writer.write_batch(batch)
            self._writer.done_writing()
        except pa.ArrowException as error:
            # The stream is broken off: why, the end of it says.
            reading.join()
            self._close(error)
            raise
        except BaseException:
            self._writer.close()
            raise
        reading.join()
        self._close(None)
        if self._last.get("fell_short"):
            warnings.warn("some rows are on a majority of the replicas, and no more in time", stacklevel=3)
        return int(self._last["rows"])

    def _read(self) -> None:
        try:
            while (octets := self._acknowledged.read()) is not None:
                self._last = json.loads(octets.to_pybytes())
        except pa.ArrowException:
            pass  # told where the stream is closed

    def _close(self, before: Exception | None) -> None:
        try:
            self._writer.close()
        except pa.ArrowException as error:
            raise restated(error) from before
