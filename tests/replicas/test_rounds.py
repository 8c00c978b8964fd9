"""Rounds: won by majorities that have promised these epochs and no later ones, and by nothing else."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from random import Random
from weakref import ref

import msgspec
import pytest

from tests.replicas.hosts import NODES, World
from tsdb.cluster.metadata.records import REPLICA_BITS
from tsdb.cluster.replicas import rounds
from tsdb.cluster.replicas.mine import Mine
from tsdb.cluster.replicas.packets import unpack
from tsdb.cluster.replicas.rounds import CHANNEL, NOT_LED, Agreed, Ask, Rounds, Said
from tsdb.errors import ProtocolViolation


class Asking:
    """The hosts of a world with rounds; what they say to each other waits in ``sent``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.loop = asyncio.new_event_loop()
        self.sent: list[tuple[int, int, bytes]] = []
        self.away: set[int] = set()
        self.told: list[Agreed | None] = []
        self.rounds = {node: Rounds(node, world[node].host, self.loop, self._offer(node)) for node in NODES}

    def _offer(self, node: int) -> Callable[[int, bytes], bool]:
        def offer(to: int, payload: bytes) -> bool:
            if to not in self.away:
                self.sent.append((node, to, payload))
            return to not in self.away

        return offer

    def ask(self, node: int, *locations: int, follows: bool = False) -> list[Agreed | None]:
        """What it is told, when it is."""
        told: list[Agreed | None] = []
        if not self.rounds[node].begin(locations, told.append, follows=follows):
            told.append(None)
        self.spin()
        return told

    def ask_over_lines(self, node: int, *locations: int, reached: tuple[int, ...], follows: bool = False) -> bool:
        """Whether it asks; what it is told is in ``told``."""
        return self.rounds[node].begin_here(locations, self.told.append, lambda each: each in reached, follows=follows)

    def answer(self) -> None:
        """What was asked over lines is answered over them."""
        while self.sent:
            sender, to, payload = self.sent.pop(0)
            self.rounds[sender].arrived(to, memoryview(self.rounds[to].answer(sender, memoryview(payload))))

    def say(self, node: int, places: list[tuple[int, int, int]], led: int = 0) -> tuple[bool, list[int]]:
        """What a node answers to a question."""
        asked = Ask(7, msgspec.Raw(msgspec.msgpack.encode(places)), led)
        octets = self.rounds[node].answer(3, memoryview(bytes((CHANNEL,)) + msgspec.msgpack.encode(asked)))
        said = msgspec.msgpack.decode(octets[1:], type=Said)
        assert said.number == 7
        return said.agreed, [*said.commits]

    def spin(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    def deliver(self, chance: Random | None = None, lost: float = 0.0) -> None:
        while self.sent:
            sender, to, payload = self.sent.pop(chance.randrange(len(self.sent)) if chance else 0)
            if chance is None or chance.random() >= lost:
                self.rounds[to].arrived(sender, memoryview(payload))


class Clockwork:
    """An event loop of which the test says what time it is. It counts the timers that were set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.set = 0

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> object:
        self.timers.append((self.now + seconds, call))
        self.set += 1
        return call

    def goes_on(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [each for each in self.timers if each[0] <= until]:
            first = min(due, key=lambda each: each[0])
            self.timers.remove(first)
            self.now = first[0]
            first[1]()
        self.now = until


@pytest.fixture
def clock(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> Clockwork:
    """Node 1's."""
    monkeypatch.setattr(rounds, "SOON_S", 0.01)
    monkeypatch.setattr(rounds, "PATIENCE_S", 0.3)
    made = Clockwork()
    monkeypatch.setattr(asking.rounds[1], "_loop", made)
    return made


def mine(world: World, node: int, location: int = 1) -> Mine:
    found = world[node].host.find(location)
    assert found is not None
    return found


def led(*locations: int, epoch: int = 1) -> list[Agreed | None]:
    return [Agreed(dict.fromkeys(locations, epoch), {})]


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.setattr(rounds, "PATIENCE_S", 3600.0)
    monkeypatch.setattr(rounds, "SOON_S", 3600.0)
    world = World()
    world.tick(4)
    found = Asking(world)
    yield found
    found.loop.close()


def test_a_leader_hears_its_epochs_when_a_majority_has_answered(asking: Asking) -> None:
    told = asking.ask(1, 1, 2, 3)
    assert told == []
    # With itself that is a majority.
    assert [to for _, to, _ in asking.sent] == [2]
    asking.deliver()
    assert told == led(1, 2, 3)
    assert {asking.world[1].host.lead(each) for each in (1, 2, 3)} == {(1, 1)}


def test_who_goes_on_has_asked_when_it_does_unless_others_are_asked_already(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ASKED_S", 60.0)
    told: list[Agreed | None] = []
    released = threading.Event()
    thread = threading.Thread(target=asking.loop.run_forever)
    thread.start()
    try:
        assert asking.rounds[1].begin([1], told.append, follows=False, goes_on=True)
        assert [to for _, to, _ in asking.sent] == [2]
        # While that is under way nobody waits for a loop that does something else.
        asking.loop.call_soon_threadsafe(released.wait)
        second = threading.Thread(target=lambda: asking.rounds[1].begin([2], told.append, follows=False, goes_on=True))
        second.start()
        second.join(30)
        assert not second.is_alive()
        assert [to for _, to, _ in asking.sent] == [2]
    finally:
        released.set()
        asking.loop.call_soon_threadsafe(asking.loop.stop)
        thread.join()
    asking.deliver()
    assert told == [*led(1), *led(2)]


def test_what_was_asked_before_is_asked_of_those_who_have_votes_now(asking: Asking) -> None:
    asking.ask(1, 1)
    asking.deliver()
    asking.world.change(1, epoch=2, leader=2)
    asking.world.tell()
    assert asking.ask(1, 1) == [None]
    asking.world.tick(4)
    told = asking.ask(2, 1)
    asking.deliver()
    assert told == led(1, epoch=2)


def test_one_other_of_two_is_enough_and_none_is_not(asking: Asking) -> None:
    asking.away = {2}
    told = asking.ask(1, 1)
    asking.deliver()
    assert told == led(1)
    asking.away = {2, 3}
    assert asking.ask(1, 1) == [None]


def test_who_is_late_is_not_waited_for_and_not_asked_first_until_it_answers(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "SOON_S", 0.0)
    told = asking.ask(1, 1)
    while len(asking.sent) < 2:
        asking.spin()
    assert [to for _, to, _ in asking.sent] == [2, 3]
    late = [asking.sent.pop(0)]
    asking.deliver()
    assert told == led(1)
    monkeypatch.setattr(rounds, "SOON_S", 3600.0)
    told = asking.ask(1, 1)
    assert [to for _, to, _ in asking.sent] == [3]
    asking.deliver()
    assert told == led(1)
    # Its answer comes late, and counts for nothing but that it is there again.
    asking.sent = late
    asking.deliver()
    asking.ask(1, 1)
    assert [to for _, to, _ in asking.sent] == [2]


@pytest.mark.parametrize("before", [0.0, 0.003, 0.0099])
def test_the_others_are_asked_soon_and_a_round_ends(asking: Asking, clock: Clockwork, before: float) -> None:
    # An earlier read has set the timer, and is answered.
    assert asking.ask_over_lines(1, 3, reached=(2, 3))
    asking.answer()
    clock.goes_on(before)
    assert asking.ask_over_lines(1, 1, reached=(2, 3))
    began = clock.now
    while len(asking.sent) < 2:
        clock.goes_on(0.001)
        assert clock.now < began + 0.0201
    assert clock.now >= began + 0.01
    assert [to for _, to, _ in asking.sent] == [2, 3]
    assert asking.told == led(3)
    while len(asking.told) < 2:
        clock.goes_on(0.001)
        assert clock.now < began + 0.3101
    assert clock.now >= began + 0.3
    assert asking.told == [*led(3), None]
    clock.goes_on(0.1)
    assert clock.timers == []


def test_reads_that_follow_each_other_set_no_timer_each(asking: Asking, clock: Clockwork) -> None:
    for _ in range(500):
        assert asking.ask_over_lines(1, 1, reached=(2, 3))
        asking.answer()
        clock.goes_on(0.002)
    assert asking.told == 500 * led(1)
    assert clock.set <= 102
    # All of them were set by others.
    set_before = clock.set
    assert asking.ask_over_lines(1, 1, reached=(2, 3))
    assert clock.set == set_before
    asking.answer()
    clock.goes_on(0.1)
    assert clock.timers == []


def test_who_disagrees_has_the_others_asked_at_once(asking: Asking) -> None:
    asking.world.change(1, epoch=2, leader=2)
    asking.world.tell(2)
    told = asking.ask(1, 1)
    assert [to for _, to, _ in asking.sent] == [2]
    asking.deliver()
    assert told == led(1)


def test_a_follower_asks_the_leader_alone(asking: Asking) -> None:
    told = asking.ask(3, 1, 2, follows=True)
    assert [to for _, to, _ in asking.sent] == [1]
    asking.deliver()
    assert told == [Agreed({}, {1: (1, 1), 2: (1, 1)})]


def test_a_follower_needs_the_leader_and_hears_what_is_committed_there(asking: Asking) -> None:
    world = asking.world
    answers = world[1].write(1, b"x")
    world[1].turn()
    world.run()
    assert answers
    asking.away = {3}
    told = asking.ask(2, 1, 2, follows=True)
    asking.deliver()
    assert told == [Agreed({}, {1: (1, 2), 2: (1, 1)})]
    asking.away = {1}
    assert asking.ask(2, 1, 2, follows=True) == [None]


def test_a_follower_does_not_believe_who_agrees_and_does_not_lead_yet(asking: Asking) -> None:
    told = asking.ask(2, 1, 2, follows=True)
    ((_, to, _),) = asking.sent
    assert to == 1
    said = Said(asking.rounds[2]._number, agreed=True, commits=(1, NOT_LED))
    asking.rounds[2].arrived(1, memoryview(bytes((CHANNEL,)) + msgspec.msgpack.encode(said)))
    asking.sent.clear()
    assert told == [None]


def test_who_has_promised_a_later_epoch_itself_asks_all_others_at_once(asking: Asking) -> None:
    world = asking.world
    world.change(1, epoch=2, leader=2)
    world.tell(2)
    for sender, to, packet in world.network:
        if to == 1:
            world[1].host.step(unpack(packet, sender, to))
            world[1].turn()
    assert not mine(world, 1).replica.agrees(1)
    told = asking.ask(1, 1)
    assert [to for _, to, _ in asking.sent] == [2, 3]
    # The third one knows of nothing, and is not enough.
    assert mine(world, 3).replica.agrees(1)
    asking.deliver()
    assert told == [None]


def test_who_votes_alone_asks_nobody(asking: Asking) -> None:
    number = 1 << REPLICA_BITS | 1
    asking.world.change(4, voters=(1,), active_voters=(1,), replicas=((1, number),))
    asking.world.tell(1)
    assert asking.ask(1, 4) == led(4)
    assert asking.sent == []
    # With another location of which others have votes as well.
    told = asking.ask(1, 4, 3)
    assert told == []
    asking.deliver()
    assert told == led(4, 3)


def test_a_follower_applies_what_it_has_when_it_hears_that_it_is_committed(asking: Asking) -> None:
    world = asking.world
    world[1].write(1, b"x")
    world[1].turn()
    # The ops and what says that they are there, and not what is committed by that.
    for _ in range(2):
        network, world.network = world.network, []
        for sender, to, packet in network:
            world[to].host.step(unpack(packet, sender, to))
            world[to].turn()
    world.network = []
    assert world.visible(1)[0] == [b"x"]
    assert world.visible(1)[1] == []
    told = asking.ask(2, 1, follows=True)
    asking.deliver()
    assert told == [Agreed({}, {1: (1, 2)})]
    world[2].host.hear_commit(1, 7, 2)
    world[2].turn()
    assert world.visible(1)[1] == []
    world[2].host.hear_commit(1, 1, 2)
    world[2].turn()
    assert world.visible(1)[1] == [b"x"]


def test_a_leader_says_what_is_committed_before_it_is_applied(asking: Asking) -> None:
    """Another node may have heard of it by then, and shown it."""
    world, place = asking.world, (1, 1 << REPLICA_BITS | 1, 1)
    world[1].write(1, b"x")
    world[1].turn()
    assert asking.say(1, [place], led=1) == (True, [1])
    while mine(world, 1).replica.log_end[2] < 2:
        network, world.network = world.network, []
        for sender, to, packet in network:
            world[to].host.step(unpack(packet, sender, to))
            if to != 1:
                world[to].turn()
    assert mine(world, 1).replica.log_end[3] == 1
    assert asking.say(1, [place], led=1) == (True, [2])


def test_what_is_committed_is_remembered_until_the_ops_are_there(asking: Asking) -> None:
    world = asking.world
    world[1].write(1, b"x")
    world[1].turn()
    late = [each for each in world.network if each[1] == 2]
    world.network = [each for each in world.network if each[1] != 2]
    world.run(without=[2])
    assert world.visible(1) == [[b"x"], [], []] or world.visible(1) == [[b"x"], [], [b"x"]]
    world[2].host.hear_commit(1, 1, 2)
    world[2].turn()
    assert world.visible(1)[1] == []
    for sender, to, packet in late:
        world[to].host.step(unpack(packet, sender, to))
    world[2].turn()
    assert world.visible(1)[1] == [b"x"]


def test_who_does_not_lead_by_what_it_knows_asks_nobody(asking: Asking) -> None:
    assert asking.ask(2, 1) == [None]
    assert asking.ask(1, 1, 99) == [None]
    asking.world.change(2, epoch=2, leader=3)
    asking.world.tell(1)
    assert asking.ask(1, 1, 2) == [None]
    assert asking.ask(1, 1, 2, follows=True) == [None]
    assert asking.sent == []


def test_a_leader_that_is_cut_off_while_another_takes_over_wins_no_round(asking: Asking) -> None:
    """It knows of nothing, and whoever it reaches has promised the next epoch."""
    world = asking.world
    world.change(1, epoch=2, leader=2)
    world.tell(2, 3)
    world.run(without=[1])
    world.tick(without=[1])
    assert world[1].host.lead(1) == (1, 1)
    lead = world[2].host.lead(1)
    assert lead is not None
    assert lead[0] == 2
    told = asking.ask(1, 1, 2)
    asking.deliver()
    assert told == [None]
    # Of another location the old one still leads.
    told = asking.ask(1, 2)
    asking.deliver()
    assert told == led(2)
    # Nor does a follower believe it that has promised more.
    assert mine(world, 1).committed(1) == 1
    told = asking.ask(3, 1, follows=True)
    asking.deliver()
    assert told == [Agreed({}, {1: lead})]


def test_who_has_promised_a_later_epoch_counts_for_no_earlier_one(asking: Asking) -> None:
    world = asking.world
    world.change(1, epoch=2, leader=2)
    world.tell(2)
    assert not mine(world, 2, 1).replica.agrees(1)
    assert mine(world, 3, 1).replica.agrees(1)
    told = asking.ask(1, 1)
    asking.deliver()
    assert told == led(1)
    # When the other has promised as well nobody answers for the old epoch; the new one is not active.
    network, world.network = world.network, []
    for sender, to, packet in network:
        if to == 3:
            world[3].host.step(unpack(packet, sender, to))
            world[3].turn()
    told = asking.ask(1, 1)
    asking.deliver()
    assert told == [None]
    assert asking.ask(2, 1, follows=True) == [None]


def test_another_replica_of_the_same_node_does_not_agree(asking: Asking) -> None:
    first, second = 1 << REPLICA_BITS, 2 << REPLICA_BITS
    assert asking.say(2, [(1, second | 1, 1)]) == (True, [])
    assert asking.say(2, [(1, second | 2, 1)]) == (False, [])
    assert asking.say(2, [(1, second | 1, 2)]) == (False, [])
    assert asking.say(2, [(1, second | 1, 1), (99, second | 1, 1)]) == (False, [])
    assert asking.say(1, [(1, first | 1, 1), (2, first | 1, 1)], led=1) == (True, [1])
    assert asking.say(1, [(1, first | 2, 1)], led=1) == (False, [])
    # It is a follower.
    assert asking.say(2, [(1, second | 1, 1)], led=1) == (True, [NOT_LED])


def test_what_was_asked_before_is_answered_by_the_replicas_that_are_there_now(asking: Asking) -> None:
    world, before = asking.world, (1, 2 << REPLICA_BITS | 1, 1)
    assert asking.say(2, [before]) == (True, [])
    another = 2 << REPLICA_BITS | 2
    world.change(1, replicas=((1, 1 << REPLICA_BITS | 1), (2, another), (3, 3 << REPLICA_BITS | 1)))
    world.tell(2)
    host = world[2].host
    assert host.find(1) is None
    assert asking.say(2, [before]) == (False, [])
    # The other one begins when nothing is left of it.
    batch = host._records.batch()
    host.left.forget(batch, [1])
    host._records.write(batch, sync=False)
    world.tell(2)
    assert mine(world, 2).number == another
    assert asking.say(2, [before]) == (False, [])
    # It has promised nothing yet.
    assert asking.say(2, [(1, another, 1)]) == (False, [])
    assert asking.say(2, [(1, another, 0)]) == (True, [])


def test_who_asks_and_who_is_asked_keep_no_replica_that_goes(asking: Asking) -> None:
    told = asking.ask(1, 1, 2)
    asking.deliver()
    assert told == led(1, 2)
    cores = [ref(mine(asking.world, node).replica) for node in (1, 2)]
    for node in (1, 2):
        asking.world[node].host._forget(1, goes_on=False)
    gc.collect()
    assert [core() for core in cores] == [None, None]


def test_not_all_questions_are_remembered(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "KNOWN_MAX", 2)
    for _ in range(3):
        for location in (1, 2, 3):
            assert asking.say(2, [(location, 2 << REPLICA_BITS | 1, 1)]) == (True, [])
            assert len(asking.rounds[2]._known_asked) <= 2
            told = asking.ask(1, location)
            asking.deliver()
            assert told == led(location)
            assert len(asking.rounds[1]._known) <= 2


def test_over_lines_it_has_asked_when_it_goes_on_and_only_where_a_majority_is_reached(asking: Asking) -> None:
    assert not asking.ask_over_lines(1, 1, 2, reached=())
    assert not asking.ask_over_lines(2, 1, reached=(1, 3))
    # A follower needs the leader.
    assert not asking.ask_over_lines(2, 1, reached=(3,), follows=True)
    assert asking.sent == []
    assert asking.ask_over_lines(1, 1, 2, reached=(3,))
    assert [(sender, to) for sender, to, _ in asking.sent] == [(1, 2)]
    assert asking.ask_over_lines(2, 1, reached=(1,), follows=True)
    assert [(sender, to) for sender, to, _ in asking.sent] == [(1, 2), (2, 1)]
    assert asking.told == []
    asking.answer()
    assert asking.told == [*led(1, 2), Agreed({}, {1: (1, 1)})]


def test_over_lines_who_has_promised_a_later_epoch_counts_for_no_earlier_one(asking: Asking) -> None:
    world = asking.world
    world.change(1, epoch=2, leader=2)
    world.tell(2, 3)
    world.run(without=[1])
    world.tick(without=[1])
    assert world[1].host.lead(1) == (1, 1)
    assert asking.ask_over_lines(1, 1, 2, reached=(2, 3))
    asking.answer()
    assert asking.ask_over_lines(1, 2, reached=(2, 3))
    asking.answer()
    assert asking.told == [None, *led(2)]
    # A follower does not believe the old one, and who took over says what is committed.
    assert asking.ask_over_lines(3, 1, reached=(1, 2), follows=True)
    asking.answer()
    assert asking.told[2:] == [Agreed({}, {1: world[2].host.lead(1)})]  # type: ignore[dict-item]


def test_over_a_line_only_who_was_dialed_answers(asking: Asking) -> None:
    assert asking.ask_over_lines(1, 1, reached=(2, 3))
    ((_, _, payload),) = asking.sent
    answer = asking.rounds[2].answer(1, memoryview(payload))
    with pytest.raises(ProtocolViolation, match="answers over a line where it asks"):
        asking.rounds[1].answer(2, memoryview(answer))


def test_what_comes_twice_late_or_never_wins_nothing_by_itself(asking: Asking) -> None:
    chance = Random(7)
    for _ in range(50):
        asking.away = set(chance.sample((2, 3), chance.randrange(3)))
        first, second = asking.ask(1, 1, 2), asking.ask(1, 3)
        asking.sent += [each for each in asking.sent if chance.random() < 0.5]
        asking.deliver(chance, lost=0.3)
        for told, expected in ((first, led(1, 2)), (second, led(3))):
            assert told in ([], [None], expected)


def test_a_round_that_nobody_answers_ends(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PATIENCE_S", 0.0)
    told = asking.ask(1, 1)
    while not told:
        asking.spin()
    assert told == [None]
    # Late answers find nobody.
    asking.deliver()
    assert told == [None]


@pytest.mark.parametrize("payload", [b"", b"\x90", b"\x93\x09\x01\xc3", b"\x93\x01\x01\x91\x91\x01"])
def test_what_cannot_be_read_is_refused(asking: Asking, payload: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="cannot be read"):
        asking.rounds[1].arrived(2, memoryview(bytes((rounds.CHANNEL,)) + payload))
