"""Three processes die, stand still and are stopped, again and again: the long forms. Run with -s for the times."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.fixtures.waiting import until
from tests.group.ledger import PLACES, Ledger, spread
from tests.group.nodes import Nodes

DEATHS = 50
STOPS = 5
STOPPED_S = 5.0
# What an operator may count on, on a machine that is not busy with other things.
PROMISED_S = 5.0
# A busy one: nobody was served at all.
LIMIT_S = 30.0

pytestmark = pytest.mark.nightly


def others_of(place: int) -> list[int]:
    return [other for other in PLACES if other != place]


def leader_of_all(nodes: Nodes) -> int:
    """Whom all agree on."""

    def found() -> int:
        leaders = {nodes.report(place).leader for place in nodes.running}
        return leaders.pop() if len(leaders) == 1 else 0

    return until(found)


def start_after(nodes: Nodes, place: int, seconds: float) -> None:
    time.sleep(seconds)
    nodes.start(place)


def test_the_leader_dies_fifty_times(three: Nodes) -> None:
    took: list[float] = []
    with Ledger(three) as ledger:
        for number in range(DEATHS):
            leader = leader_of_all(three)
            asked = others_of(leader)[number % 2]
            with three.connect(asked) as connection:
                begun = time.monotonic()
                three.kill(leader)
                ledger.make(connection, f"kill_{number}")
                took.append(time.monotonic() - begun)
            three.start(leader)
        ledger.check()
    late = sum(seconds > PROMISED_S for seconds in took)
    print(f"\na schema change after kill -9 of the leader, {spread(took)}; {late} took more than {PROMISED_S:g} s")
    print(f"{ledger.looks} looks at the schema of nodes, none of which went back")
    assert max(took) < LIMIT_S


def test_all_are_stopped_and_started_at_random_fifty_times(three: Nodes) -> None:
    chance = random.Random(2)
    served: list[float] = []
    with Ledger(three) as ledger:
        for number in range(DEATHS):
            with three.connect(chance.choice(PLACES)) as connection:
                ledger.make(connection, f"round_{number}")
            for place in chance.sample(PLACES, 3):
                (three.kill if chance.random() < 0.5 else three.stop)(place)
                time.sleep(chance.random())
            with ThreadPoolExecutor(3) as pool:
                begun = time.monotonic()
                started = [
                    pool.submit(start_after, three, place, chance.random() * 3) for place in chance.sample(PLACES, 3)
                ]
                for each in started:
                    each.result(120)
            with three.connect(chance.choice(PLACES)) as connection:
                ledger.make(connection, f"back_{number}")
            served.append(time.monotonic() - begun)
            ledger.check()
    print(f"\na schema change after all were stopped and started within 3 s of each other, {spread(served)}")
    print(f"{ledger.looks} looks at the schema of nodes, none of which went back")


def test_a_leader_that_stood_for_five_seconds_acts_on_nothing_that_is_over(three: Nodes) -> None:
    """It is asked, while it stands, to change a table that the others make anew meanwhile."""
    outcomes: list[str] = []
    for number in range(STOPS):
        leader = leader_of_all(three)
        others = others_of(leader)
        name = f"stood_{number}"
        three.sql(leader, f"CREATE TABLE {name} (time timestamptz, old float8)")
        term = three.report(others[0]).term
        with three.connect(leader) as connection:
            three.pause(leader)
            stood = time.monotonic()
            late = Late(connection, f"ALTER TABLE {name} RENAME COLUMN old TO late")
            three.sql(others[0], f"DROP TABLE {name}")
            three.sql(others[1], f"CREATE TABLE {name} (time timestamptz, fresh float8)")
            new_term = three.report(others[0]).term
            time.sleep(max(0.0, STOPPED_S - (time.monotonic() - stood)))
            three.resume(leader)
            outcomes.append(late.outcome())
        assert new_term > term
        until(lambda: three.report(leader).term >= new_term)  # noqa: B023
        for place in PLACES:
            until(lambda: columns(three, place, name) == ["time", "fresh"])  # noqa: B023
        assert outcomes[-1] in ("UndefinedColumn", "UndefinedTable", "SerializationFailure"), outcomes
    print(f"\nwhat the deposed leader answered to what it was asked while it stood: {outcomes}")


class Late:
    """A statement whose answer comes later, in a thread of its own."""

    def __init__(self, connection: psycopg.Connection, statement: str) -> None:
        self._connection = connection
        self._statement = statement
        self._found = ""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._connection.execute(self._statement)
            self._found = "done"
        except psycopg.Error as error:
            self._found = type(error).__name__

    def outcome(self) -> str:
        self._thread.join(60)
        assert not self._thread.is_alive(), "no answer for a minute"
        return self._found


def columns(nodes: Nodes, place: int, name: str) -> list[str]:
    found = nodes.sql(
        place, "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND "
        f"table_name = '{name}' ORDER BY ordinal_position"
    )  # fmt: skip
    return [column for (column,) in found]
