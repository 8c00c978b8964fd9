"""LISTEN and NOTIFY: channels of a process, and what one session's transaction says about them until COMMIT.

As in PostgreSQL, LISTEN, UNLISTEN and NOTIFY take effect at COMMIT; equal notifications of a transaction are sent once;
each session gets them between transactions (manual, NOTIFY and LISTEN). Sessions of other databases hear nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tsdb.errors import InvalidParameterValue, ProgramLimitExceeded

CHANNEL_BYTES_MAX = 63
PAYLOAD_BYTES_MAX = 7999
# What may wait for a session that is in a transaction or does not read.
QUEUE_BYTES_MAX = 4 << 20
# What one transaction may say, LISTEN and UNLISTEN included.
ACTIONS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Notification:
    process_id: int
    channel: str
    payload: str

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return 200 + len(self.payload.encode())


@dataclass(eq=False)
class Listener:
    """A session's ear: ``wake`` is called on the event loop when something has come."""

    database: str
    wake: Callable[[], None]
    channels: set[str] = field(default_factory=set)
    queue: deque[Notification] = field(default_factory=deque)
    queued_bytes: int = 0

    def put(self, notification: Notification) -> None:
        self.queue.append(notification)
        self.queued_bytes += notification.size

    def take(self) -> Notification | None:
        if not self.queue:
            return None
        taken = self.queue.popleft()
        self.queued_bytes -= taken.size
        return taken


class Channels:
    """Who listens to what. Owned by the event loop."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, str], set[Listener]] = {}

    def listen(self, listener: Listener, channel: str) -> None:
        listener.channels.add(channel)
        self._listeners.setdefault((listener.database, channel), set()).add(listener)

    def unlisten(self, listener: Listener, channel: str | None = None) -> None:
        """None is all channels."""
        for each in [channel] if channel is not None else list(listener.channels):
            listener.channels.discard(each)
            listeners = self._listeners.get((listener.database, each), set())
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop((listener.database, each), None)

    def check_room(self, database: str, notifications: list[Notification]) -> None:
        """Raises ProgramLimitExceeded when a session that listens would have too many waiting."""
        coming: dict[Listener, int] = {}
        for notification in notifications:
            for listener in self._listeners.get((database, notification.channel), ()):
                coming[listener] = coming.get(listener, 0) + notification.size
        if any(listener.queued_bytes + size > QUEUE_BYTES_MAX for listener, size in coming.items()):
            raise ProgramLimitExceeded(
                "too many notifications in the NOTIFY queue",
                detail=f"{QUEUE_BYTES_MAX >> 20} MiB may wait for a session that listens.",
                hint="It may be in a transaction for long, or its client may not read.",
            )

    def send(self, database: str, notifications: list[Notification]) -> None:
        woken: dict[Listener, None] = {}
        for notification in notifications:
            for listener in self._listeners.get((database, notification.channel), ()):
                listener.put(notification)
                woken[listener] = None
        for listener in woken:
            listener.wake()


@dataclass(frozen=True, slots=True)
class _Listen:
    channel: str


@dataclass(frozen=True, slots=True)
class _Unlisten:
    channel: str | None


class Messages:
    """What one session's transaction has said so far."""

    def __init__(self, process_id: int, database: str, channels: Channels, listener: Listener) -> None:
        self._process_id = process_id
        self._database = database
        self._channels = channels
        self.listener = listener
        self._actions: dict[_Listen | _Unlisten | Notification, None] = {}
        self._saved: list[int] = []

    def listen(self, channel: str) -> None:
        self._add(_Listen(_checked(channel)))

    def unlisten(self, channel: str | None) -> None:
        self._add(_Unlisten(channel))

    def notify(self, channel: str, payload: str) -> None:
        """Raises InvalidParameterValue: the channel's name or the payload is too long or missing."""
        _checked(channel)
        if len(payload.encode()) > PAYLOAD_BYTES_MAX:
            raise InvalidParameterValue("payload string too long")
        self._add(Notification(self._process_id, channel, payload))

    def _add(self, action: _Listen | _Unlisten | Notification) -> None:
        if isinstance(action, Notification) and action in self._actions:
            return
        if len(self._actions) >= ACTIONS_MAX:
            raise ProgramLimitExceeded(f"the transaction has {ACTIONS_MAX} notifications, as many as are allowed")
        self._actions.pop(action, None)
        self._actions[action] = None

    # --- transactions ---

    def savepoint(self) -> None:
        self._saved.append(len(self._actions))

    def release(self, depth: int) -> None:
        del self._saved[depth - 1 :]

    def rollback_to(self, depth: int) -> None:
        kept = list(self._actions)[: self._saved[depth - 1]]
        self._actions = dict.fromkeys(kept)
        del self._saved[depth:]

    def check_room(self) -> None:
        """Before COMMIT writes anything."""
        if self._actions:
            self._channels.check_room(self._database, self._notifications())

    def end(self, *, committed: bool) -> None:
        if committed and self._actions:
            for action in self._actions:
                if isinstance(action, _Listen):
                    self._channels.listen(self.listener, action.channel)
                elif isinstance(action, _Unlisten):
                    self._channels.unlisten(self.listener, action.channel)
            self._channels.send(self._database, self._notifications())
        self._actions = {}
        self._saved = []

    def close(self) -> None:
        self._channels.unlisten(self.listener)

    def _notifications(self) -> list[Notification]:
        return [action for action in self._actions if isinstance(action, Notification)]


def _checked(channel: str) -> str:
    if not channel:
        raise InvalidParameterValue("channel name cannot be empty")
    if len(channel.encode()) > CHANNEL_BYTES_MAX:
        raise InvalidParameterValue("channel name too long")
    return channel
