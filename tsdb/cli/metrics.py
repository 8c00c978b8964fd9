"""Generated machine metrics: what Telegraf's cpu, mem and disk plugins would send from a fleet, from a seed.

Loads walk at random about what is usual for their machine; disks fill up and are emptied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

INTERVAL_S = 10
REGIONS = ("eu-central", "eu-west", "us-east", "us-west", "ap-south")
_NS = 1_000_000_000
_GIB = 1024**3


@dataclass(slots=True)
class _Machine:
    tags: str
    user: float
    system: float
    memory: float
    disk: float
    memory_total: int
    usual_user: float

    def step(self, chance: Random) -> None:
        self.user = _walk(chance, self.user + (self.usual_user - self.user) * 0.05, 3.0)
        self.system = _walk(chance, self.system, 1.0, high=40.0)
        self.memory = _walk(chance, self.memory, 0.5, low=10.0)
        self.disk = 20.0 if self.disk > 95.0 else self.disk + chance.random() * 0.02

    def lines(self, time_ns: int) -> str:
        idle = max(0.0, 100.0 - self.user - self.system)
        used = int(self.memory_total * self.memory / 100)
        user, system = self.user, self.system
        return (
            f"cpu,{self.tags} usage_user={user:.2f},usage_system={system:.2f},usage_idle={idle:.2f} {time_ns}\n"
            f"mem,{self.tags} total={self.memory_total}i,used={used}i,used_percent={self.memory:.2f} {time_ns}\n"
            f"disk,{self.tags},path=/ used_percent={self.disk:.3f} {time_ns}\n"
        )


def _walk(chance: Random, value: float, step: float, low: float = 0.0, high: float = 100.0) -> float:
    return min(high, max(low, value + chance.gauss(0.0, step)))


def _machine(number: int, chance: Random) -> _Machine:
    region = REGIONS[number % len(REGIONS)]
    usual_user = chance.uniform(5, 60)
    return _Machine(
        tags=f"host=web-{number:03d},region={region}",
        user=usual_user,
        usual_user=usual_user,
        system=chance.uniform(1, 15),
        memory=chance.uniform(20, 80),
        disk=chance.uniform(20, 90),
        memory_total=chance.choice((8, 16, 32)) * _GIB,
    )


def points_per_tick(hosts: int) -> int:
    """Lines that one tick of ``hosts`` machines makes."""
    return hosts * 3


def line_protocol(seed: int, hosts: int, end_ns: int, minutes: int = 60) -> Iterator[bytes]:
    """Bodies of line protocol, one for each minute of the hour that ends at ``end_ns``."""
    chance = Random(seed)
    machines = [_machine(number, chance) for number in range(hosts)]
    ticks = 60 // INTERVAL_S
    time_ns = end_ns // _NS * _NS - minutes * 60 * _NS
    for _ in range(minutes):
        body = []
        for _ in range(ticks):
            for machine in machines:
                machine.step(chance)
                body.append(machine.lines(time_ns))
            time_ns += INTERVAL_S * _NS
        yield "".join(body).encode()
