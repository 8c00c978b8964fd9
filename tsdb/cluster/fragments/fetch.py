"""One fragment that is fetched: a thread reads what the other node sends, and gives it to who asked."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

import pyarrow as pa
import pyarrow.flight as flight

from tsdb.cluster.routing.arrow import READ
from tsdb.cluster.routing.exchange import WINDOW_BYTES, NoAnswer, NotFetched, RowTaker
from tsdb.cluster.routing.messages import Answer, Ask, Envelope, Part, Reply, RunScan, decode, encode
from tsdb.errors import ProtocolViolation

log = logging.getLogger(__name__)

_FIRST = b"?"
"""With nothing in it a message would be an end."""
_GIVEN_UP = NoAnswer("it was given up")
_OPTIONS = flight.FlightCallOptions(read_options=READ)


class Fetch:
    """An ``exchange.Fetch``. ``run`` is its thread; ``reached`` hears that something has come, ``unreached`` why
    nothing has."""

    def __init__(
        self,
        client: flight.FlightClient,
        question: RunScan,
        taker: RowTaker,
        reached: Callable[[], None],
        unreached: Callable[[str], None],
    ) -> None:
        self._client = client
        self._question = question
        self._taker = taker
        self._reached = reached
        self._unreached = unreached
        self._reader: flight.FlightStreamReader | None = None
        # Without it what is read would end.
        self._writer: flight.FlightStreamWriter | None = None
        self._came = False
        self._waiting = 0
        self._is_cancelled = False
        self._changed = threading.Condition()

    def run(self) -> None:
        """To the end, of which the taker hears in any case."""
        try:
            outcome = self._read()
        except (flight.FlightError, pa.ArrowException, OSError, ProtocolViolation) as error:
            outcome = self._broken(str(error).partition(". ")[0].partition("\n")[0])
        except Exception:
            log.exception("a fragment could not be fetched")
            outcome = NoAnswer("what it sent could not be read: the log says why")
        self._taker.ended(outcome)
        if isinstance(outcome, Exception):
            self.cancel()
        writer, self._writer = self._writer, None
        if writer is not None:
            # It waits for the other side's end: a cancel ends that, too.
            with contextlib.suppress(flight.FlightError, pa.ArrowException, OSError):
                writer.close()
        with self._changed:
            self._reader = None

    def _read(self) -> Reply | Exception:
        reader = self._open()
        while reader is not None:
            try:
                chunk = reader.read_chunk()
            except StopIteration:
                # A write that finds the call ended already throws away all that came, and says nothing.
                why = "what it sent ended before its answer did"
                return NoAnswer(why) if self._came or self._is_cancelled else NotFetched(why)
            if not self._came:
                self._came = True
                self._reached()
            reply = self._reply_of(chunk)
            if reply is not None:
                return reply
        return _GIVEN_UP

    def _broken(self, why: str) -> Exception:
        if self._is_cancelled:
            return _GIVEN_UP
        if self._came:
            return NoAnswer(f"what it sent broke off: {why}")
        self._unreached(why)
        return NotFetched(why)

    def _open(self) -> flight.FlightStreamReader | None:
        descriptor = flight.FlightDescriptor.for_command(encode(Ask(0, self._question)))
        self._writer, reader = self._client.do_exchange(descriptor, _OPTIONS)
        with self._changed:
            if self._is_cancelled:
                reader.cancel()
                return None
            self._reader = reader
        # The descriptor goes with the first message.
        self._writer.write_metadata(_FIRST)
        self._writer.done_writing()
        return reader

    def _reply_of(self, chunk: flight.FlightStreamChunk) -> Reply | None:
        """The answer's end; what comes before it is given to who takes it."""
        if chunk.app_metadata is None:
            raise ProtocolViolation("rows of another node come without saying what they are")
        envelope, body = decode(memoryview(chunk.app_metadata))
        if not isinstance(envelope, Answer):
            self._give(envelope, body, chunk.data)
            return None
        if len(body):
            self._give(*decode(body), chunk.data)
        return envelope.reply

    def _give(self, part: Envelope, body: memoryview, batch: pa.RecordBatch | None) -> None:
        if not isinstance(part, Part):
            raise ProtocolViolation(f"{type(part).__name__} is no answer to a fragment")
        found = body if batch is None else batch
        with self._changed:
            while self._waiting >= WINDOW_BYTES and not self._is_cancelled:
                self._changed.wait()
            self._waiting += found.nbytes
        self._taker.rows(part, found)

    def taken(self, size: int) -> None:
        """So many bytes of what came were read."""
        with self._changed:
            self._waiting -= size
            self._changed.notify()

    def cancel(self) -> None:
        """From any thread: what comes is not wanted any more."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify()
            reader = self._reader
        if reader is not None:
            reader.cancel()
