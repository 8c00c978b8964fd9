"""Clients of ``keepers`` that write down what they asked and were told: a history for ``tests.sim.linearizable``."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from typing import Any

from tests.fixtures.waiting import PATIENCE_S, until
from tests.group.keepers import PLACES, Gone, Keepers
from tests.sim.linearizable import READ, Call, compare_and_set, saw, write

RECORDS = (1, 2)
PAUSE_S = 0.04


class Client:
    """One call at a time, at one node. It keeps on while its process is away."""

    def __init__(self, keepers: Keepers, place: int, number: int, over: threading.Event) -> None:
        self._keepers = keepers
        self._place = place
        self._name = f"{place}.{number}"
        self._over = over
        self._chance = random.Random(f"{place}.{number}")
        self._values = 0
        self._seen: dict[int, tuple[str, int]] = {}
        self.calls: list[Call] = []
        self.answered_from = -math.inf
        """When the latest call that changed something and was answered had begun."""
        self.never = 0
        """Changes of which the node said that they were not made and never will be."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._thread.join(2 * PATIENCE_S)
        assert not self._thread.is_alive(), f"a call of {self._name} was never answered"

    def _run(self) -> None:
        while not self._over.is_set():
            self._call(self._chance.choice(RECORDS), self._chance.choice(("read", "read", "write", "compare")))
            time.sleep(self._chance.uniform(0, PAUSE_S))

    def _call(self, record: int, kind: str) -> None:
        asked: Any = READ
        words: tuple[Any, ...] = ()
        if kind != "read":
            self._values += 1
            value = f"{self._name}.{self._values}"
            asked, words = write(value), (value,)
            if kind == "compare" and record in self._seen:
                zone, changed = self._seen[record]
                asked, words = compare_and_set(zone, value), (changed, value)
        what = {"write": "write", "compare and set": "compare"}.get(asked[0], "read")
        begin = time.monotonic()
        try:
            answer = self._keepers.running[self._place].ask(what, record, *words).result(PATIENCE_S)
        except Gone:
            answer = ["unknown"]
        end = time.monotonic()
        match answer:
            case ["saw", zone, changed]:
                self._seen[record] = zone, changed
                self.calls.append(Call(record, READ, begin, saw(zone), end))
            case ["done"] | ["refused"]:
                self.calls.append(Call(record, asked, begin, answer == ["done"], end))
                self.answered_from = begin
            case ["never"]:
                self.never += asked != READ
            case ["unknown", *_]:
                if asked != READ:
                    self.calls.append(Call(record, asked, begin))


class Recording:
    """Clients at all nodes, from its beginning to ``end``."""

    def __init__(self, keepers: Keepers, clients_each: int = 2) -> None:
        self._over = threading.Event()
        # What is there already was written before.
        self._before = [
            Call(record, write(keepers.answer(PLACES[0], "read", record)[1]), -2, True, -1) for record in RECORDS
        ]
        self._clients = {
            place: [Client(keepers, place, number, self._over) for number in range(clients_each)] for place in PLACES
        }

    def wait_for_changes(self, *places: int) -> None:
        """Until something that is asked at each of these nodes from now on is done."""
        now = time.monotonic()
        for place in places:
            until(lambda: any(client.answered_from >= now for client in self._clients[place]))  # noqa: B023

    def end(self) -> None:
        self._over.set()
        for client in self._all:
            client.end()

    @property
    def _all(self) -> list[Client]:
        return [client for clients in self._clients.values() for client in clients]

    @property
    def calls(self) -> list[Call]:
        found = (call for client in self._all for call in client.calls)
        return self._before + sorted(found, key=lambda call: call.begin)

    def kinds(self) -> Counter[str]:
        """How many calls there were with what answer."""
        calls = (call for client in self._all for call in client.calls)
        found = Counter(f"{call.asked[0]} {call.answer if call.asked != READ else 'seen'}" for call in calls)
        found["never"] = sum(client.never for client in self._all)
        return found
