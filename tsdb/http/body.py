"""A request's body on its way into memory, within its own limit, everybody's and a least speed.

A body of known length goes from the socket into one array, where the server offers that (``Direct``): of the four
copies of the ordinary way three are saved, which is a third of all work for a large batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from tsdb.errors import OutOfMemory
from tsdb.http.head import Head
from tsdb.http.request import SlowBody, too_large
from tsdb.http.spares import Spares

# What has to come of a body in each period, or the rest of it.
MIN_BODY_BYTES = 16 * 1024
# Shorter bodies are there with their head, or nearly; longer ones must not claim memory that they do not fill yet.
DIRECT_BYTES_MIN, DIRECT_BYTES_MAX = 48 * 1024, 32 * 1024 * 1024
# What is longer is read in pieces, where that may be.
LONG_BYTES = 24 * 1024 * 1024
# Of the budget no more than this share is for what has not come yet: who sends slowly must not shut out the others.
CLAIMED_SHARE = 4
# The ASGI extension by which a server offers it.
DIRECT = "tsdb.direct"

# Answers a request: status, header lines, body. Once, on the event loop, after who was asked has returned.
Answer = Callable[[int, bytes, bytes], None]
# Takes a request by its body; False: not this one, and nothing was done.
Again = Callable[[bytes, Answer], bool]


class Direct(Protocol):
    """What a server offers as ``scope["extensions"][DIRECT]["body"]``, before the first ``receive``."""

    filled: int

    def whole(self) -> bytes | None:
        """The body, if all of it has come: then nobody else gets it."""
        ...

    def fill(self, buffer: bytearray, more: int = 0) -> None:
        """So much of the body as ``buffer`` has room for goes there; ``filled`` says how much of it has come. ``more``
        bytes come after it: nothing is read until the next ``fill`` says where to.

        ``receive`` then gives one message without bytes, when the buffer is full, if it is not at once.
        """
        ...

    def no_content(self, lines: bytes) -> bool:
        """Answer 204 with these header lines; False: it cannot be sent at once, and nothing was."""
        ...

    def again(self, take: Again) -> None:
        """The next requests on this connection whose heads are this one's but for the length, and whose bodies come
        with them, are for ``take``, until another one says who takes them. Nobody else sees them."""
        ...


def offered(head: Head) -> Direct | None:
    """What the server of a request offers."""
    found: Direct | None = head.scope.get("extensions", {}).get(DIRECT, {}).get("body")
    return found


class Budget:
    """Bytes of bodies in memory, over all requests. Used on the event loop alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._claimed = 0
        self._freed: asyncio.Event | None = None
        self.spares = Spares()

    def claim(self, count: int) -> bool:
        """Take bytes that have not come yet, if that is not too much."""
        if self._claimed + count > self._limit // CLAIMED_SHARE or self._used + count > self._limit:
            return False
        self._claimed += count
        self._used += count
        return True

    def came(self, count: int) -> None:
        """Claimed bytes have come, or will not."""
        self._claimed -= count
        self._wake()

    def take(self, count: int) -> None:
        if self._used + count > self._limit:
            raise OutOfMemory(f"{self._used} bytes of request bodies are being worked on; try again soon")
        self._used += count

    def give(self, count: int) -> None:
        self._used -= count
        assert self._used >= 0
        self._wake()

    async def freed(self) -> None:
        """Wait until there is more room than now."""
        if self._freed is None:
            self._freed = asyncio.Event()
        await self._freed.wait()

    def _wake(self) -> None:
        freed, self._freed = self._freed, None
        if freed is not None:
            freed.set()


class Body:
    """The body of one request; ``give_back`` what it holds of the budget when it is no longer needed.

    ``seconds``: the period in which at least ``MIN_BODY_BYTES``, or the end, must come. Whoever reads may be told
    OutOfMemory, BadRequest (413, 503), ClientDisconnect.
    """

    def __init__(self, head: Head, receive: Receive, budget: Budget, limit: int, seconds: float) -> None:
        self._head = head
        self._receive = receive
        self._budget = budget
        self._limit = limit
        self._seconds = seconds
        self._taken = 0
        self._array: bytearray | None = None
        # Gives back what its pieces hold, when there is no room for the next: those who wait must hold nothing that
        # others wait for.
        self.make_room: Callable[[], Awaitable[None]] | None = None

    def give_back(self, count: int | None = None) -> None:
        """So many bytes, or all, are not needed any more."""
        count = self._taken if count is None else count
        self._budget.give(count)
        self._taken -= count

    def done(self) -> None:
        """Nobody needs the bytes of ``read`` any more."""
        array, self._array = self._array, None
        if array is not None:
            self._budget.spares.give(array)

    @property
    def is_long(self) -> bool:
        """Is it so long that it should be read in pieces? One of unknown length may be."""
        length = self._length()
        return length > LONG_BYTES or (not length and "transfer-encoding" in self._head.headers)

    async def pieces(self, size: int) -> AsyncIterator[bytes | bytearray]:
        """All of it in pieces of ``size`` bytes, the last may be shorter; ``give_back`` each when it is done with."""
        self._renew(0)
        length, direct = self._length(), offered(self._head)
        if direct is not None and length:
            for start in range(0, length, size):
                here = min(size, length - start)
                await self._claim(here)
                try:
                    piece = await self._direct(direct, bytearray(here), length - start - here)
                finally:
                    self._budget.came(here)
                yield piece
            return
        piece = bytearray()
        async for chunk in self._chunks():
            piece += chunk
            if len(piece) >= size:
                yield piece
                piece = bytearray()
        if piece:
            yield piece

    async def _claim(self, count: int) -> None:
        """Wait for room for the next piece: who sends waits, too."""
        if not self._budget.claim(count):
            if self.make_room is not None:
                await self.make_room()
            try:
                async with asyncio.timeout(self._seconds):
                    while not self._budget.claim(count):
                        await self._budget.freed()
            except TimeoutError:
                raise OutOfMemory("other request bodies take all the room that there is; try again soon") from None
        self._taken += count
        self._renew(0)

    async def read(self) -> bytes | bytearray:
        """All of it."""
        length, direct = self._length(), offered(self._head)
        if direct is not None and DIRECT_BYTES_MIN <= length <= DIRECT_BYTES_MAX and self._budget.claim(length):
            self._taken += length
            self._renew(0)
            try:
                self._array = await self._direct(direct, self._budget.spares.take(length))
                return self._array
            finally:
                self._budget.came(length)
        whole = None if direct is None else direct.whole()
        if whole is not None:
            if len(whole) > self._limit:
                raise too_large(self._limit)
            self._take(len(whole))
            return whole
        self._renew(0)
        return b"".join([chunk async for chunk in self._chunks()])

    def _length(self) -> int:
        """As the head says; 0 if it does not."""
        headers = self._head.headers
        text = headers.get("content-length", "")
        if "transfer-encoding" in headers or not (text.isascii() and text.isdigit()):
            return 0
        if len(text) > 19 or int(text) > self._limit:
            raise too_large(self._limit)
        return int(text)

    async def _direct(self, direct: Direct, body: bytearray, more: int = 0) -> bytearray:
        length = len(body)
        direct.fill(body, more)
        if direct.filled == length:
            return body
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    message = await self._receive()
            except TimeoutError:
                self._check_speed(direct.filled)
                continue
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if direct.filled == length:
                return body
            if not message.get("more_body", False):
                raise ClientDisconnect  # what is not filled may be of another body

    async def _chunks(self) -> AsyncIterator[bytes]:
        size = 0
        more = True
        while more:
            # Bytes of a body that stalls would be missing in everybody's budget.
            try:
                async with asyncio.timeout_at(self._deadline):
                    message = await self._receive()
            except TimeoutError:
                raise SlowBody(MIN_BODY_BYTES, self._seconds) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self._limit:
                raise too_large(self._limit)
            self._take(len(chunk))
            if size >= self._wanted:
                self._renew(size)
            yield chunk

    def _take(self, count: int) -> None:
        self._budget.take(count)
        self._taken += count

    def _check_speed(self, size: int) -> None:
        if size < self._wanted:
            raise SlowBody(MIN_BODY_BYTES, self._seconds)
        self._renew(size)

    def _renew(self, size: int) -> None:
        self._wanted = size + MIN_BODY_BYTES
        self._deadline = asyncio.get_running_loop().time() + self._seconds
