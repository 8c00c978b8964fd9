"""Three processes with real disks are a Raft group: they elect, commit, lose one by kill -9, and take it back."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.transport.nodes import write_pair
from tests.fixtures.environment import ROOT, clean_environment
from tests.fixtures.ports import free_port

PATIENCE_S = 90
ANSWER_S = 30


class Cluster:
    """Processes by their number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in (1, 2, 3):
            write_pair(folder, f"n{number}")
        self.ports = [free_port() for _ in range(3)]
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.count = 0

    def start(self, number: int) -> None:
        log = (self.folder / f"n{number}.log").open("a")
        self.processes[number] = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.transport.raft_process", str(self.folder), str(number),
             *map(str, self.ports)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=clean_environment(),
        )  # fmt: skip
        log.close()

    def kill(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        process.communicate()

    def ask(self, number: int, line: str, seconds: float = ANSWER_S) -> Any:
        """The answer of a process; TimeoutError if there is none, and then there is none to be expected later."""
        process = self.processes[number]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], seconds)[0]:
            raise TimeoutError((number, line, (self.folder / f"n{number}.log").read_text()[-3000:]))
        answer = process.stdout.readline()
        assert answer, (number, line, (self.folder / f"n{number}.log").read_text()[-3000:])
        return json.loads(answer)

    def leader(self, among: tuple[int, ...]) -> int:
        """The one that these agree on, when they do."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            leaders = {self.ask(number, "status")["leader"] for number in among}
            if len(leaders) == 1 and leaders <= set(among):
                return int(leaders.pop())
            time.sleep(0.1)
        raise TimeoutError([self.ask(number, "status") for number in among])

    def write(self, number: int, register: int, value: int) -> None:
        """Write through a node until a linearizable read of it shows it: a proposal may be lost."""
        self.count += 1
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.ask(number, f"write {number} {self.count} {register} {value}")
            for _ in range(10):
                if self.ask(number, "read", PATIENCE_S).get(str(register)) == value:
                    return
                time.sleep(0.05)
        raise TimeoutError((number, register, value))

    def stop(self) -> None:
        for process in self.processes.values():
            process.communicate()
            assert process.returncode == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    try:
        yield cluster
    finally:
        for number in list(cluster.processes):
            cluster.kill(number)


def test_three_processes_agree_and_survive_the_loss_of_their_leader(cluster: Cluster) -> None:
    everybody = (1, 2, 3)
    for number in everybody:
        cluster.start(number)
    first = cluster.leader(everybody)
    for number in everybody:
        cluster.write(number, register=number, value=10 * number)
    assert cluster.ask(first, "read") == {"1": 10, "2": 20, "3": 30}
    term = cluster.ask(first, "status")["term"]

    cluster.kill(first)
    left = tuple(number for number in everybody if number != first)
    second = cluster.leader(left)
    assert second != first
    assert cluster.ask(second, "status")["term"] > term
    cluster.write(left[0], register=4, value=40)
    cluster.write(left[1], register=5, value=50)

    cluster.start(first)
    assert cluster.ask(first, "read", PATIENCE_S) == {"1": 10, "2": 20, "3": 30, "4": 40, "5": 50}
    cluster.write(first, register=6, value=60)
    assert cluster.ask(second, "read", PATIENCE_S)["6"] == 60
    # Their clocks are one machine's, and who has measured it says so; who is new among them may not have, yet.
    standings = [cluster.ask(number, "status") for number in everybody]
    assert {standing["clock"] for standing in standings} <= {"agrees", "doubtful"}
    assert all(abs(standing["offset"]) < 1 for standing in standings if standing["clock"] == "agrees")

    # All stop and start: nothing that was committed is forgotten.
    cluster.stop()
    for number in everybody:
        cluster.start(number)
    assert cluster.ask(second, "read", PATIENCE_S)["6"] == 60
    cluster.stop()
