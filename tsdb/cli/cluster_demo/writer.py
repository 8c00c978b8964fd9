"""Who writes all the time, to any node, and knows of each point whether it was acknowledged."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence

from tsdb.cli.cluster_demo.nodes import HOST

POINTS = 100
"""Of one batch; with these times each has some of several ring locations."""
STEP_NS = 60_000_000_000
HOSTS = 10
START_NS = 1_767_225_600_000_000_000
PAUSE_S = 0.02
# Longer than a node waits for somebody to lead, and for the answer of another one.
ANSWER_S = 30.0
AGAIN_S = 0.02


def batch_of(number: int) -> bytes:
    """The points of a batch, from 1: the same each time, so that one that comes again takes its own place."""
    first = START_NS + number * POINTS // HOSTS * STEP_NS
    lines = [
        f"points,host=h{at % HOSTS} batch={number}i,value={at} {first + at // HOSTS * STEP_NS}\n"
        for at in range(POINTS)
    ]
    return "".join(lines).encode()


class Writer(threading.Thread):
    """``ports`` are the nodes' of HTTP. A batch is sent until a node says that it is stored, then the next one.

    So the batches that are acknowledged are those from 1 to ``acknowledged``.
    """

    def __init__(self, ports: Sequence[int], database: str) -> None:
        super().__init__(name="writer", daemon=True)
        self._ports = ports
        self._path = f"/write?db={database}"
        self._stopping = threading.Event()
        self._interrupted: float | None = None
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self._at = 0
        self.acknowledged = 0
        self.sent_again = 0
        self.resumed_ms: float | None = None
        self.latest = time.monotonic()
        self.refusal = ""
        """Why it has given up."""

    @property
    def points(self) -> int:
        """How many were acknowledged."""
        return self.acknowledged * POINTS

    def interrupted(self, at: float) -> None:
        """From this moment of ``time.monotonic`` the time is taken until a write that begins later is acknowledged."""
        self.resumed_ms = None
        self._interrupted = at

    def stop(self) -> None:
        """And wait for the write that is on its way."""
        self._stopping.set()
        if self.is_alive():
            self.join(ANSWER_S)

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._write(self.acknowledged + 1):
                    break
                self._stopping.wait(PAUSE_S)
        finally:
            for connection in self._connections.values():
                connection.close()

    def _write(self, number: int) -> bool:
        """Whether it was acknowledged; if not, the writer ends."""
        body = batch_of(number)
        while not self._stopping.is_set():
            began = time.monotonic()
            status, said = self._sent(body)
            if status == http.client.NO_CONTENT:
                self._is_stored(number, began)
                return True
            if 400 <= status < 500:
                self.refusal = f"a write was answered {status}: {said}"
                return False
            # Nobody there, nobody leads, or not known: the same again, at the next node.
            self.sent_again += 1
            self._stopping.wait(AGAIN_S)
        return False

    def _is_stored(self, number: int, began: float) -> None:
        now = time.monotonic()
        self.acknowledged, self.latest = number, now
        if self._interrupted is not None and began > self._interrupted:
            self.resumed_ms = (now - self._interrupted) * 1e3
            self._interrupted = None

    def _sent(self, body: bytes) -> tuple[int, str]:
        """To the next node: status and text of its answer; 0 if there is none."""
        self._at = (self._at + 1) % len(self._ports)
        port = self._ports[self._at]
        connection = self._connections.get(port)
        if connection is None:
            connection = self._connections[port] = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
        try:
            connection.request("POST", self._path, body, {"Content-Type": "text/plain; charset=utf-8"})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return 0, str(error)
