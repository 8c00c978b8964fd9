"""The client of the load sends all of a body and reads all of an answer, however they are cut on their way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.load import http_sender
from benchmarks.posts import Posts
from benchmarks.processes import ServerFailed

OK = b"HTTP/1.1 204 No Content\r\nrequest-id: 1\r\n\r\n"


@contextmanager
def answering(*answers: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives each request the next answer, in pieces: (port, the bodies that came)."""
    bodies: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, left = listener.accept()[0], list(answers)
            while left:
                with connection, connection.makefile("rb") as lines:
                    while left:
                        fields = (line.strip().lower().split(b": ") for line in iter(lines.readline, b"\r\n"))
                        head = dict(field for field in fields if len(field) == 2)
                        bodies.append(lines.read(int(head[b"content-length"])))
                        answer = left.pop(0)
                        for piece in answer:
                            connection.sendall(piece)
                        if b"close" in answer[0]:
                            break
                if left:
                    connection = listener.accept()[0]

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], bodies
        thread.join(10)


def test_a_large_body_goes_out_whole_and_the_connection_is_kept() -> None:
    large = bytes(range(256)) * 40_000
    with answering([OK], [OK[:9], OK[9:]]) as (port, bodies):
        posts = Posts(port, "/write")
        assert [posts.post(body).status for body in (large, memoryview(b"small"))] == [204, 204]
        posts.close()
    assert bodies == [large, b"small"]


def test_a_refusal_is_read_with_its_body() -> None:
    with answering([b"HTTP/1.1 400 Bad\r\nContent-Length: 5\r\n\r", b"\nno", b"pe!"]) as (port, _):
        send, close = http_sender(port, "/write")
        with pytest.raises(ServerFailed, match="answered 400: b'nope!'"):
            send(memoryview(b"m"))
        close()


def test_a_full_server_is_asked_again_when_it_says_over_a_new_connection_if_it_closed() -> None:
    full = b"HTTP/1.1 503 Full\r\nRetry-After: 0.01\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with answering([full], [OK]) as (port, bodies):
        send, close = http_sender(port, "/write")
        send(memoryview(b"m"))
        close()
    assert bodies == [b"m", b"m"]
