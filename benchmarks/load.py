"""Batches sent to a server by several connections at once."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode

import psycopg

from benchmarks.posts import Posts
from benchmarks.processes import ServerFailed

RETRIES_MAX = 100
REQUEST_SECONDS_MAX = 600

Send = Callable[[memoryview], None]


class Lines(Protocol):
    """Batches of lines: `render.Batches`, or made when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> memoryview: ...


def in_parallel(batches: Lines, workers: int, connect: Callable[[], tuple[Send, Callable[[], None]]]) -> float:
    """Send all batches, each once, by ``workers`` connections; gives the seconds until the last is acknowledged.

    ``connect`` opens a connection and gives how to send a batch and how to finish. The first error of any ends all.
    """
    numbers = itertools.count()  # next() of it is atomic
    errors: list[BaseException] = []

    def work() -> None:
        try:
            send, finish = connect()
            try:
                while not errors and (number := next(numbers)) < len(batches):
                    send(batches[number])
            finally:
                finish()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, name=f"load-{i}", daemon=True) for i in range(workers)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - begin


def over_http(batches: Lines, workers: int, port: int, path: str, headers: str = "") -> float:
    """POST all batches as line protocol; every answer must be 204. 503 with Retry-After is obeyed, within limits."""

    return in_parallel(batches, workers, lambda: http_sender(port, path, headers))


def http_sender(port: int, path: str, headers: str = "") -> tuple[Send, Callable[[], None]]:
    """A kept connection: how to POST a batch over it, and how to close it. ``headers``: lines of its own."""
    posts = Posts(port, path, f"Content-Type: text/plain; charset=utf-8\r\n{headers}", REQUEST_SECONDS_MAX)

    def send(batch: memoryview) -> None:
        for _ in range(RETRIES_MAX):
            answer = posts.post(batch)
            if answer.status == 204:
                return
            if answer.status != 503:
                break
            time.sleep(answer.retry_after or 1)
        raise ServerFailed(f"POST {path} was answered {answer.status}: {answer.body[:300]!r}")

    return send, posts.close


def by_copy(
    batches: Lines, workers: int, conninfo: str, table: str, columns: Sequence[str], form: str = "csv"
) -> float:
    """COPY all batches, CSV or another ``form``, over the PostgreSQL protocol, a statement each."""
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT {form})".encode()

    def connect() -> tuple[Send, Callable[[], None]]:
        connection = psycopg.connect(conninfo, autocommit=True)

        def send(batch: memoryview) -> None:
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(batch)

        return send, connection.close

    return in_parallel(batches, workers, connect)


class HttpConnection:
    """A kept connection that GETs; used by one thread."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS_MAX)

    def get(self, path: str, parameters: dict[str, str], *, method: str = "GET") -> bytes:
        """The body of a 2xx answer; ServerFailed with any other."""
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        self._connection.request(method, target)
        response = self._connection.getresponse()
        body = response.read()
        if not 200 <= response.status < 300:
            raise ServerFailed(f"{method} {path} was answered {response.status}: {body[:300]!r}")
        return body

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def answers(port: int, path: str) -> Callable[[], bool]:
    """Whether a server answers GET ``path`` with 2xx, for `ServerProcess.wait_until`."""

    def is_ready() -> bool:
        try:
            HttpConnection(port).get(path, {})
        except (OSError, http.client.HTTPException, ServerFailed):
            return False
        return True

    return is_ready


def first_line(text: Any) -> str:
    """The first line of an error's text, for a report."""
    return (str(text).splitlines() or [""])[0][:300]
