"""A network of its own for each node: namespaces on one bridge, with faults between them (``ip netns``, ``iptables``).

Nothing of it is in the namespace of the tests: the bridge is in one of its own, the *hub*, from where all nodes are
reached whatever is cut between them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")

CLONE_NEWNET = 0x40000000
PORT = 7400


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)


def why_not() -> str | None:
    """Why there can be no such network here; None if there can."""
    missing = [name for name in ("ip", "iptables", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} (packages iproute2, iptables, util-linux) are needed"
    name = f"tsdb-try-{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
        try:
            run("nsenter", f"--net=/run/netns/{name}", "iptables", "-L", "-n")
        finally:
            run("ip", "netns", "del", name)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        return f"network namespaces are not permitted here: {said}"
    return None


class Inside:
    """A thread in a namespace: what it opens belongs there."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._thread = ThreadPoolExecutor(1, namespace, initializer=self._enter)

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self._namespace}") as place:
            if libc.setns(place.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def submit(self, function: Callable[..., R], *arguments: object) -> Future[R]:
        return self._thread.submit(function, *arguments)

    def call(self, function: Callable[..., R], *arguments: object) -> R:
        return self._thread.submit(function, *arguments).result()

    def close(self) -> None:
        self._thread.shutdown(wait=True)


class Network:
    """Places from 1 on; each has an address and a namespace."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = places
        self._names = {place: f"tsdb-{os.getpid()}-{place}" for place in (0, *places)}
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        hub = self.hub
        run("ip", "netns", "add", hub)
        run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", hub, "addr", "add", "10.77.0.254/24", "dev", "bridge")
        for link in ("bridge", "lo"):
            run("ip", "-n", hub, "link", "set", link, "up")
        for place in self.places:
            name = self.name(place)
            run("ip", "netns", "add", name)
            run("ip", "-n", hub, "link", "add", f"to{place}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", hub, "link", "set", f"to{place}", "master", "bridge", "up")
            run("ip", "-n", name, "addr", "add", f"{self.host(place)}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                run("ip", "-n", name, "link", "set", link, "up")

    @property
    def hub(self) -> str:
        return self._names[0]

    def name(self, place: int) -> str:
        return self._names[place]

    def host(self, place: int) -> str:
        return f"10.77.0.{place}"

    def address(self, place: int) -> str:
        return f"{self.host(place)}:{PORT}"

    def within(self, place: int) -> list[str]:
        """What goes before a command so that it runs there; 0 is the hub. Its mounts stay those of the tests (which
        ``ip netns exec`` copies)."""
        return ["nsenter", f"--net=/run/netns/{self._names[place]}"]

    def close(self) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=60, check=False)

    # Faults

    def _rule(self, place: int, *words: str) -> None:
        run(*self.within(place), "iptables", "-A", "INPUT", "-i", "eth0", *words)

    def deafen(self, place: int, peer: int) -> None:
        """Nothing of ``peer`` arrives at ``place`` any more."""
        self._rule(place, "-s", self.host(peer), "-j", "DROP")

    def cut(self, one: int, two: int) -> None:
        self.deafen(one, two)
        self.deafen(two, one)

    def isolate(self, place: int) -> None:
        for other in self.places:
            if other != place:
                self.cut(place, other)

    def lose(self, share: float) -> None:
        """So much of what is sent between nodes is lost."""
        for place in self.places:
            self._rule(place, "-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")

    def reset(self, place: int) -> None:
        """Whatever other nodes send to ``place`` is answered with a reset."""
        for other in self.places:
            if other != place:
                self._rule(place, "-p", "tcp", "-s", self.host(other), "-j", "REJECT", "--reject-with", "tcp-reset")

    def heal(self) -> None:
        for place in self.places:
            run(*self.within(place), "iptables", "-F", "INPUT")
