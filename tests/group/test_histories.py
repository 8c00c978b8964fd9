"""What clients at all nodes read and write while processes are killed, stopped and cut off is linearizable.

The nodes are processes with real disks, clocks and connections; the checker is the simulator's, whose own test is
tests/sim/test_linearizable.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.fixtures.waiting import until
from tests.group.keepers import PLACES, Keepers
from tests.group.recording import Recording
from tests.sim.linearizable import READ, Call, fault, register, saw, write

NIGHTLY_FAULTS = 60


@pytest.fixture(scope="module")
def keepers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keepers]:
    """All running and connected; tests leave them so."""
    keepers = Keepers(tmp_path_factory.mktemp("keepers"))
    try:
        keepers.begin()
        yield keepers
    finally:
        keepers.end()


class Faults:
    """What happens to the nodes while clients go on. Each ends when the others have gone on without the one, and all
    nodes are served again."""

    def __init__(self, keepers: Keepers, recording: Recording, chance: random.Random) -> None:
        self._keepers = keepers
        self._recording = recording
        self._chance = chance

    def kill(self, place: int) -> None:
        self._keepers.kill(place)
        self._others_go_on(place)
        self._keepers.start(place)
        self._recording.wait_for_changes(*PLACES)

    def stop(self, place: int) -> None:
        """As long as it takes the others to go on: when it wakes up it does not know that."""
        self._keepers.running[place].pause()
        self._others_go_on(place)
        self._keepers.running[place].resume()
        self._recording.wait_for_changes(*PLACES)

    def cut(self, place: int, ways: str = "both") -> None:
        """Its clients reach it, the other nodes do not: either way, or what it sends, or what it is sent."""
        others = [other for other in PLACES if other != place]
        out, back = {(place, other) for other in others}, {(other, place) for other in others}
        self._keepers.cables.cut = frozenset({"both": out | back, "out": out, "back": back}[ways])
        self._others_go_on(place)
        self._keepers.cables.cut = frozenset()
        self._recording.wait_for_changes(*PLACES)

    def part(self, one: int, other: int) -> None:
        """Two of them do not reach each other; the third reaches both."""
        self._keepers.cables.cut = frozenset({(one, other), (other, one)})
        self._recording.wait_for_changes(*(place for place in PLACES if place not in (one, other)))
        self._keepers.cables.cut = frozenset()
        self._recording.wait_for_changes(*PLACES)

    def kill_all(self) -> None:
        for place in self._chance.sample(PLACES, 3):
            self._keepers.kill(place)
        for place in self._chance.sample(PLACES, 3):
            self._keepers.launch(place)
        for place in PLACES:
            self._keepers.wait_ready(place)
        self._recording.wait_for_changes(*PLACES)

    def _others_go_on(self, place: int) -> None:
        self._recording.wait_for_changes(*(other for other in PLACES if other != place))
        time.sleep(self._chance.uniform(0, 0.5))

    def by_chance(self) -> str:
        chance = self._chance
        place = self._keepers.leader() if chance.random() < 0.7 else chance.choice(PLACES)
        kind = chance.choice(("kill", "stop", "both", "out", "back", "part", "all"))
        match kind:
            case "kill":
                self.kill(place)
            case "stop":
                self.stop(place)
            case "part":
                self.part(place, chance.choice([other for other in PLACES if other != place]))
            case "all":
                self.kill_all()
            case _:
                self.cut(place, kind)
        return kind


def judged(recording: Recording) -> str:
    """A line about a history that is linearizable. Raises AssertionError for another."""
    calls = recording.calls
    begin = time.process_time()
    wrong = fault(calls, register, None)
    took = time.process_time() - begin
    assert wrong is None, str(wrong)
    return f"{len(calls)} calls, judged in {took:.1f} s of CPU: {dict(sorted(recording.kinds().items()))}"


def test_what_clients_see_while_leaders_are_killed_stopped_and_cut_off_is_linearizable(keepers: Keepers) -> None:
    recording = Recording(keepers)
    faults = Faults(keepers, recording, random.Random(1))
    _, term, _ = keepers.standing(1)
    try:
        recording.wait_for_changes(*PLACES)
        faults.cut(keepers.leader())
        faults.kill(keepers.leader())
        faults.stop(keepers.leader())
    finally:
        recording.end()
    print(judged(recording))
    seen = recording.kinds()
    assert seen["read seen"] > 20, seen
    assert seen["write True"] > 20, seen
    assert seen["compare and set True"] + seen["compare and set False"] > 5, seen
    assert keepers.standing(1)[1] >= term + 3, "each of the three leaders was followed by another"


@pytest.mark.nightly
def test_a_long_history_with_faults_of_all_kinds_is_linearizable(keepers: Keepers) -> None:
    recording = Recording(keepers)
    chance = random.Random(7)
    faults = Faults(keepers, recording, chance)
    done: list[str] = []
    try:
        recording.wait_for_changes(*PLACES)
        for _ in range(NIGHTLY_FAULTS):
            done.append(faults.by_chance())
    finally:
        recording.end()
    print(f"{len(done)} faults ({', '.join(f'{done.count(kind)} {kind}' for kind in sorted({*done}))})")
    print(judged(recording), f"term {keepers.standing(1)[1]}")
    assert recording.kinds()["read seen"] > 1_000


def test_a_node_that_answered_reads_by_itself_would_be_found_out(keepers: Keepers) -> None:
    """The test is tested: what a node knows that is cut off is old, and a history with it is judged to be wrong."""
    place = next(each for each in PLACES if each != keepers.leader())
    writer = next(each for each in PLACES if each != place)
    until(lambda: keepers.answer(writer, "write", 1, "first") == ["done"])
    until(lambda: keepers.answer(place, "look", 1)[1] == "first")
    keepers.cables.cut = frozenset(
        pair for other in PLACES if other != place for pair in ((place, other), (other, place))
    )
    begin = time.monotonic()
    until(lambda: keepers.answer(writer, "write", 1, "new") == ["done"])
    written = time.monotonic()
    old = keepers.answer(place, "look", 1)[1]
    history = [
        Call(1, write("first"), begin - 2, True, begin - 1),
        Call(1, write("new"), begin, True, written),
        Call(1, READ, written + 1e-6, saw(old), time.monotonic() + 1e-6),
    ]
    assert fault(history, register, None) is not None
    assert keepers.answer(place, "read", 1) == ["never"], "who asks the others does not get an old answer, but none"
    keepers.cables.cut = frozenset()
    assert until(lambda: (answer := keepers.answer(place, "read", 1))[0] == "saw" and answer)[1] == "new"
