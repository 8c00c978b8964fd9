"""The points of TSBS's use case `cpu-only`, drawn from a seed.

Equal in statistics to what the Time Series Benchmark Suite generates, not in bytes (that needs Go's generator): ten
fixed tags a host, ten fields that are clamped random walks (start uniform in [0, 100), step N(0, 1), clamped to
[0, 100]) sent as truncated integers, one point a host every ten seconds. Points come tick by tick, within a tick host
by host; the first tick carries the walks' initial state.

Source: timescale/tsbs, `pkg/data/usecases/devops` (`host.go`, `cpu.go`) and `pkg/data/usecases/common`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SERIES = "cpu"
TAGS = (
    "hostname",
    "region",
    "datacenter",
    "rack",
    "os",
    "arch",
    "team",
    "service",
    "service_version",
    "service_environment",
)
FIELDS = (
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
)
START_NS = 1_451_606_400 * 10**9  # 2016-01-01T00:00:00Z, TSBS's default
INTERVAL_NS = 10 * 10**9

ZONES = {
    "us-east-1": "abce",
    "us-west-1": "ab",
    "us-west-2": "abc",
    "eu-west-1": "abc",
    "eu-central-1": "ab",
    "ap-southeast-1": "ab",
    "ap-southeast-2": "ab",
    "ap-northeast-1": "ac",
    "sa-east-1": "abc",
}
SYSTEMS = ("Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10")
ARCHITECTURES = ("x64", "x86")
TEAMS = ("SF", "NYC", "LON", "CHI")
ENVIRONMENTS = ("production", "staging", "test")
RACKS, SERVICES, SERVICE_VERSIONS = 100, 20, 2

HOSTS_MAX, TICKS_MAX = 100_000, 1_000_000
TICKS_MIN = 6  # a minute: shorter data could leave a window without points
POINTS_MAX = 200_000_000


@dataclass(frozen=True, slots=True)
class Workload:
    """All points of one run. ``values`` has the shape (ticks, hosts, fields), ``tags[host]`` the order of TAGS."""

    seed: int
    tags: tuple[tuple[str, ...], ...]
    values: npt.NDArray[np.uint8]
    start_ns: int = START_NS
    interval_ns: int = INTERVAL_NS

    @property
    def ticks(self) -> int:
        return int(self.values.shape[0])

    @property
    def hosts(self) -> int:
        return int(self.values.shape[1])

    @property
    def points(self) -> int:
        return self.ticks * self.hosts

    @property
    def end_ns(self) -> int:
        """The end of the data, exclusive: one interval after the last tick."""
        return self.start_ns + self.ticks * self.interval_ns

    @property
    def times_ns(self) -> npt.NDArray[np.int64]:
        """The time of each tick."""
        return self.start_ns + np.arange(self.ticks, dtype=np.int64) * self.interval_ns


def generate(hosts: int, hours: float, seed: int) -> Workload:
    """Draw ``hosts`` × ``hours`` of points; ValueError says which size is out of bounds."""
    ticks = round(hours * 3600 * 10**9 / INTERVAL_NS)
    if not 1 <= hosts <= HOSTS_MAX:
        raise ValueError(f"{hosts} hosts: must be between 1 and {HOSTS_MAX}")
    if not TICKS_MIN <= ticks <= TICKS_MAX or ticks * hosts > POINTS_MAX:
        raise ValueError(f"{hours} hours of {hosts} hosts: must be between one minute and {POINTS_MAX} points")
    rng = np.random.default_rng(seed)
    return Workload(seed, _draw_tags(rng, hosts), _walk(rng, ticks, hosts))


def _draw_tags(rng: np.random.Generator, hosts: int) -> tuple[tuple[str, ...], ...]:
    regions = tuple(ZONES)

    def one(host: int) -> tuple[str, ...]:
        region = regions[rng.integers(len(regions))]
        zone = ZONES[region][rng.integers(len(ZONES[region]))]
        return (
            f"host_{host}",
            region,
            region + zone,
            str(rng.integers(RACKS)),
            SYSTEMS[rng.integers(len(SYSTEMS))],
            ARCHITECTURES[rng.integers(len(ARCHITECTURES))],
            TEAMS[rng.integers(len(TEAMS))],
            str(rng.integers(SERVICES)),
            str(rng.integers(SERVICE_VERSIONS)),
            ENVIRONMENTS[rng.integers(len(ENVIRONMENTS))],
        )

    return tuple(one(host) for host in range(hosts))


def _walk(rng: np.random.Generator, ticks: int, hosts: int) -> npt.NDArray[np.uint8]:
    values = np.empty((ticks, hosts, len(FIELDS)), dtype=np.uint8)
    state = rng.uniform(0.0, 100.0, (hosts, len(FIELDS)))
    values[0] = state
    for tick in range(1, ticks):
        state += rng.standard_normal(state.shape)
        np.clip(state, 0.0, 100.0, out=state)
        values[tick] = state
    return values
