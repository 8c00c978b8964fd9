"""Whether what this node has is all there is: a question to the other nodes that vote, for all locations of a read.

The rule is a replica's own (``replication.reading``, design 2.8): after a read came, a majority of the voters says to
have promised the epoch and no later one. So what was acknowledged before the read was acknowledged in that epoch, or
before its barrier; and the epoch's leader has it committed. Only the way is shorter, and open to followers:

- one message asks for all locations, and the other node answers on the event loop where it arrives. What its replicas
  have promised only rises, so it is as good there as in their own thread, and nobody waits for a disk or for writes;
- a follower asks as well as the leader: its own promise counts, and the leader's answer has its high watermark, up to
  which the follower then waits to have applied (``shared``). It is read where it is asked, and nothing goes over the
  network but the round.
- so many nodes are asked as make a majority with this one, those that answered in time when they were asked last; the
  others when these have not answered soon;
- who reads meanwhile on an event loop asks there itself, over lines of that loop (``direct``). As long as these are not
  open it first waits until the question is on its way: both threads need the interpreter, and the answer would else be
  asked for when all is read. Question and answer go past the queues of their connection.

A round that fails for any reason says no more than that: then whoever leads is asked in the long way.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias
from weakref import ref

import msgspec

from tsdb.cluster.replicas.mine import Mine
from tsdb.cluster.replicas.records import node_of
from tsdb.errors import ProtocolViolation

CHANNEL = 3
"""The first byte of these messages on the log stream (``tsdb.cluster.group.switch``)."""
PATIENCE_S = 0.3
"""An answer that takes longer was lost, or its node is gone."""
SOON_S = 0.01
"""After this, and before twice as long, the nodes are asked that a majority did not seem to need."""
ASKED_S = 0.001
"""Who goes on meanwhile waits no longer until the question is on its way."""
WAITING_MAX = 10_000
KNOWN_MAX = 256
"""Questions that are kept: queries of a kind are about the same locations, as long as the metadata say the same."""
NOT_LED = -1

Place: TypeAlias = tuple[int, int, int]
"""(location, the asked node's replica, epoch)"""


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Have your replicas promised these epochs and no later ones? The first ``led`` of the ``places`` (a tuple of
    ``Place``) you lead: what is committed there?"""

    number: int
    places: msgspec.Raw
    led: int = 0


class Said(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """All of them have, or not; then the high watermarks of the first, or ``NOT_LED``."""

    number: int
    agreed: bool
    commits: tuple[int, ...] = ()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Ask | Said] = msgspec.msgpack.Decoder(Ask | Said)
_PLACES: msgspec.msgpack.Decoder[tuple[Place, ...]] = msgspec.msgpack.Decoder(tuple[Place, ...])
_HEAD = bytes((CHANNEL,))

Own: TypeAlias = Sequence[tuple["ref[Mine]", int]]
"""Replicas of this node with an epoch of each. They are not kept by that: one may go, with its log."""


class Replicas(Protocol):
    """This node's: its host. Any thread may look."""

    @property
    def learned(self) -> int:
        """Raised when the metadata say something else of replicas, and when one comes or goes."""
        ...

    def find(self, location: int) -> Mine | None: ...


@dataclass(frozen=True, slots=True)
class Agreed:
    """Epochs after which nobody led when the read came: by location, of those that this node leads; and of the others,
    with the high watermark that their leader had then or later."""

    led: Mapping[int, int]
    followed: Mapping[int, tuple[int, int]]


Told: TypeAlias = Callable[[Agreed | None], None]


@dataclass(frozen=True, slots=True)
class _Led:
    """What another node leads: locations, and the epoch of each."""

    locations: Sequence[int]
    epochs: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Question:
    """About some locations, as the metadata say at ``learned``. ``groups``: the nodes that have votes, of each of them;
    ``own``: this node's replicas; ``led``: the epochs of those that this node leads; ``needed``: other nodes that lead
    some of them, with these; ``places``: what each other node is asked, first of these; they stand first. ``first``:
    who is asked first, if this node agrees."""

    learned: int
    groups: frozenset[frozenset[int]]
    own: Own
    led: Mapping[int, int]
    needed: Mapping[int, _Led]
    places: Mapping[int, msgspec.Raw]
    first: Sequence[int]

    def would_do(self, nodes: set[int]) -> bool:
        """Whether it is answered when these agree."""
        return _would_do(nodes, self.needed, self.groups)


def _would_do(nodes: set[int], needed: Mapping[int, object], groups: Iterable[frozenset[int]]) -> bool:
    if not needed.keys() <= nodes:
        return False
    for group in groups:  # noqa: SIM110 (``all`` takes three times as long, and it is asked four times in each read)
        if 2 * len(nodes & group) <= len(group):
            return False
    return True


def _question(node: int, locations: Iterable[int], replicas: Replicas) -> _Question | None:
    learned = replicas.learned
    groups: set[frozenset[int]] = set()
    own: list[tuple[ref[Mine], int]] = []
    led: dict[int, int] = {}
    needed: dict[int, list[Place]] = {}
    others: dict[int, list[Place]] = {}
    for location in locations:
        mine = replicas.find(location)
        if mine is None:
            return None
        number, record = mine.number, mine.record
        if record.active_epoch != record.epoch or number not in record.voters:
            return None
        groups.add(frozenset(map(node_of, record.voters)))
        own.append((ref(mine), record.epoch))
        if record.leader == number:
            led[location] = record.epoch
        for voter in record.voters:
            if voter != number:
                where = needed if voter == record.leader else others
                where.setdefault(node_of(voter), []).append((location, voter, record.epoch))
    nodes = sorted({*needed, *others}, key=lambda node: (node not in needed, node))
    places = {each: msgspec.Raw(_ENCODER.encode((*needed.get(each, ()), *others.get(each, ())))) for each in nodes}
    first = next(nodes[:count] for count in range(len(nodes) + 1) if _would_do({node, *nodes[:count]}, needed, groups))
    those = {each: _Led(*list(zip(*them, strict=True))[::2]) for each, them in needed.items()}
    return _Question(learned, frozenset(groups), own, led, those, places, first)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Places that another node asks for, as they are at ``learned``. ``own``: None where one of them is not here."""

    learned: int
    own: Own | None


def _asked(places: Iterable[Place], replicas: Replicas) -> _Asked:
    learned = replicas.learned
    own = []
    for location, number, epoch in places:
        mine = replicas.find(location)
        if mine is None or mine.number != number:
            return _Asked(learned, None)
        own.append((ref(mine), epoch))
    return _Asked(learned, own)


def _agree(own: Own) -> bool:
    for its, epoch in own:
        mine = its()
        if mine is None or not mine.replica.agrees(epoch):
            return False
    return True


_NONE_LED = _Led((), ())


@dataclass(slots=True)
class _Round:
    question: _Question
    told: Told
    spare: set[int] = field(default_factory=set)
    began: float = 0.0
    is_late: bool = False
    left: set[int] = field(default_factory=set)
    agreed: set[int] = field(default_factory=set)
    followed: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def is_won(self) -> bool:
        return self.question.would_do(self.agreed)

    @property
    def is_lost(self) -> bool:
        return not self.question.would_do(self.agreed | self.left | self.spare)

    def hear(self, peer: int, message: Said) -> bool:
        """Whether it agrees."""
        self.left.discard(peer)
        led, commits = self.question.needed.get(peer, _NONE_LED), message.commits
        if not message.agreed or len(commits) < len(led.locations) or NOT_LED in commits:
            return False
        self.agreed.add(peer)
        self.followed.update(zip(led.locations, zip(led.epochs, commits, strict=False), strict=False))
        return True

    def end(self) -> None:
        self.told(Agreed(self.question.led, self.followed) if self.is_won else None)


def _payload(message: Ask | Said) -> bytes:
    return _HEAD + _ENCODER.encode(message)


def _message(peer: int, payload: memoryview) -> Ask | Said:
    """Raises ProtocolViolation."""
    try:
        return _DECODER.decode(payload[1:])
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unreadable(peer, error) from None


def _unreadable(peer: int, error: Exception) -> ProtocolViolation:
    return ProtocolViolation(f"what node {peer} asks of replicas cannot be read: {error}")


class Rounds:
    """On one event loop, but for ``begin``: the group's, or one that reads (``direct``). ``offer`` sends a message that
    may be lost."""

    def __init__(
        self, node: int, replicas: Replicas, loop: asyncio.AbstractEventLoop, offer: Callable[[int, bytes], bool]
    ) -> None:
        self._node = node
        self._replicas = replicas
        self._loop = loop
        self._offer = offer
        self._rounds: dict[int, _Round] = {}
        self._known: dict[tuple[int, ...], _Question] = {}
        self._known_asked: dict[bytes, _Asked] = {}
        self._number = 0
        self._late: set[int] = set()
        # One for all rounds: most end long before, and each timer wakes the loop.
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0

    def begin(self, locations: Iterable[int], told: Told, *, follows: bool, goes_on: bool = False) -> bool:
        """Ask; ``told`` hears of it on the event loop. False: by the metadata it is not for this node to ask, since it
        has no vote, or (not ``follows``) does not lead; then nothing is asked.

        Who ``goes_on`` with something else would keep the event loop's thread from asking, as long as it runs Python:
        then this returns when the question is on its way, unless others are, too.
        """
        question = self._question_of(tuple(locations))
        if question is None or not (follows or len(question.led) == len(question.own)):
            return False
        asking = _Round(question, told)
        try:
            if goes_on and not self._rounds:
                self._ask_first(asking)
            else:
                self._loop.call_soon_threadsafe(self._ask, asking)
        except RuntimeError:
            return False  # the node stops
        return True

    def begin_here(
        self, locations: Iterable[int], told: Told, is_reached: Callable[[int], bool], *, follows: bool
    ) -> bool:
        """As ``begin``, on the event loop: it has asked when it returns. False as well where not enough are reached."""
        question = self._question_of(tuple(locations))
        if question is None or not (follows or len(question.led) == len(question.own)):
            return False
        # All of them are looked at: who is not reached yet may be needed the next time.
        reached = [node for node in question.places if is_reached(node)]
        if len(reached) < len(question.places) and not question.would_do({self._node, *reached}):
            return False
        self._ask(_Round(question, told))
        return True

    def _question_of(self, locations: tuple[int, ...]) -> _Question | None:
        """None: this node has no vote in one of them, or nobody leads it now. Any thread may ask."""
        known = self._known.get(locations)
        if known is None or known.learned != self._replicas.learned:
            known = _question(self._node, locations, self._replicas)
            if known is None:
                return None
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[locations] = known
        return known

    def _ask_first(self, asking: _Round) -> None:
        asked = threading.Lock()
        asked.acquire()

        def ask() -> None:
            self._ask(asking)
            asked.release()

        self._loop.call_soon_threadsafe(ask)
        asked.acquire(timeout=ASKED_S)

    def _ask(self, asking: _Round) -> None:
        self._number += 1
        number, question = self._number, asking.question
        asking.spare.update(question.places)
        # After the read came, as the others' answers are.
        agrees = _agree(question.own)
        if agrees:
            asking.agreed.add(self._node)
        is_waiting = agrees and not self._late and self._ask_first_of(number, asking)
        if not is_waiting:
            for node in sorted(asking.spare, key=self._rank(question)):
                if question.would_do(asking.agreed | asking.left):
                    break
                self._ask_spare(number, asking, node)
            is_waiting = not (asking.is_won or asking.is_lost)
        if not is_waiting or len(self._rounds) >= WAITING_MAX:
            asking.end()
            return
        self._rounds[number] = asking
        asking.began = self._loop.time()
        self._watch()

    def _ask_first_of(self, number: int, asking: _Round) -> bool:
        """Whether all were asked who have to agree besides this node. That is what most rounds are."""
        first = asking.question.first
        for node in first:
            self._ask_spare(number, asking, node)
        return 0 < len(first) == len(asking.left)

    def _rank(self, question: _Question) -> Callable[[int], tuple[bool, bool, int]]:
        return lambda node: (node not in question.needed, node in self._late, node)

    def _watch(self) -> None:
        if self._timer is None:
            self._looked, self._timer = self._number, self._loop.call_later(min(SOON_S, PATIENCE_S), self._look)

    def _look(self) -> None:
        """Whether rounds take too long."""
        self._timer = None
        now = self._loop.time()
        for number, asking in [*self._rounds.items()]:
            if now >= asking.began + PATIENCE_S:
                self._end(number)
            elif now >= asking.began + SOON_S and not asking.is_late:
                self._ask_others(number, asking)
        # Where reads follow each other none of them has to set the timer.
        if self._rounds or self._number != self._looked:
            self._watch()

    def _ask_spare(self, number: int, asking: _Round, node: int) -> None:
        asking.spare.discard(node)
        question = asking.question
        if self._send(node, Ask(number, question.places[node], len(question.needed.get(node, _NONE_LED).locations))):
            asking.left.add(node)

    def _ask_others(self, number: int, asking: _Round) -> None:
        """Who was asked first is late, and not asked first again until it answers."""
        asking.is_late = True
        self._late |= asking.left
        for node in [*asking.spare]:
            self._ask_spare(number, asking, node)
        self._decide(number, asking)

    def _decide(self, number: int, asking: _Round) -> None:
        if asking.is_won or asking.is_lost:
            self._end(number)

    def _send(self, node: int, message: Ask | Said) -> bool:
        return self._offer(node, _payload(message))

    def _end(self, number: int) -> None:
        ended = self._rounds.pop(number, None)
        if ended is not None:
            ended.end()

    def answer(self, peer: int, payload: memoryview) -> bytes:
        """To a question that came over a line. Raises ProtocolViolation."""
        message = _message(peer, payload)
        if not isinstance(message, Ask):
            raise ProtocolViolation(f"node {peer} answers over a line where it asks")
        return _payload(self._answer(peer, message))

    def arrived(self, peer: int, payload: memoryview) -> None:
        """Raises ProtocolViolation."""
        message = _message(peer, payload)
        if isinstance(message, Ask):
            self._send(peer, self._answer(peer, message))
            return
        self._late.discard(peer)
        asking = self._rounds.get(message.number)
        if asking is not None and peer in asking.left:
            if not asking.hear(peer, message):
                for node in [*asking.spare]:
                    self._ask_spare(message.number, asking, node)
            self._decide(message.number, asking)

    def _answer(self, peer: int, message: Ask) -> Said:
        own = self._asked_for(peer, bytes(message.places)).own
        if own is None:
            return Said(message.number, agreed=False)
        commits = tuple([_committed(its(), epoch) for its, epoch in own[: max(message.led, 0)]])
        # Later than what is committed was looked at: until then no later epoch was promised here.
        return Said(message.number, _agree(own), commits)

    def _asked_for(self, peer: int, places: bytes) -> _Asked:
        """Raises ProtocolViolation."""
        known = self._known_asked.get(places)
        if known is None or known.learned != self._replicas.learned:
            try:
                known = _asked(_PLACES.decode(places), self._replicas)
            except msgspec.DecodeError as error:
                raise _unreadable(peer, error) from None
            if len(self._known_asked) >= KNOWN_MAX:
                self._known_asked.clear()
            self._known_asked[places] = known
        return known


def _committed(mine: Mine | None, epoch: int) -> int:
    commit = None if mine is None else mine.committed(epoch)
    return NOT_LED if commit is None else commit
