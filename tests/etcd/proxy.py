"""A TCP proxy before etcd: it loses answers when told to (what was asked for is done, and nobody hears of it), and is
cut off and comes back."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Listens at ``port`` and forwards to ``target``; a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._losing = 0
        self._cut = False
        self._may_watch = threading.Event()
        self._may_watch.set()
        self.held = 0
        """Watches that wait."""
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def lose_answers(self, count: int = 1) -> None:
        """The next answers are not delivered: the connection ends instead."""
        self._losing = count

    def cut(self) -> None:
        """No connection is left, and none comes about."""
        with self._lock:
            self._cut = True
        self._end_all()

    def heal(self) -> None:
        self._cut = False

    def hold_watches(self) -> None:
        """Watches that are asked for wait on their way, until they are released."""
        self._may_watch.clear()
        self._end_all()

    def release_watches(self) -> None:
        self._may_watch.set()

    def _end_all(self) -> None:
        with self._lock:
            opened, self._open = self._open, []
        for each in opened:
            self._end(each)

    def __enter__(self) -> Proxy:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._may_watch.set()
        self._end(self._listener)
        self._end_all()
        for thread in list(self._threads):
            thread.join()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self._cut:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                self._end(client)
                continue
            with self._lock:
                late = self._cut
                if not late:
                    self._open += [client, server]
            if late:
                # It was cut off while this one was let in.
                self._end(client)
                self._end(server)
                continue
            self._run(self._forward, client, server, False)
            self._run(self._forward, server, client, True)

    def _forward(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers and self._losing > 0:
                    self._losing -= 1
                    break
                if not answers and b"POST /v3/watch " in data and not self._may_watch.is_set():
                    self.held += 1
                    self._may_watch.wait()
                target.sendall(data)
        self._end(source)
        self._end(target)

    @staticmethod
    def _end(each: socket.socket) -> None:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
