"""Where the nodes of a cluster are: their directories, certificates and ports."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.transport.nodes import HOST, tls_of, write_pair
from tests.fixtures.ports import free_port
from tsdb.cluster.group.control import Report, Request, Response, Status
from tsdb.cluster.group.operator import ask

PLACES = 8


class Places:
    """Places from 1 on; a place is its node's number, too, while nobody was removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port() for _ in range(PLACES)]

    def data(self, place: int) -> Path:
        return self.folder / f"data{place}"

    def address(self, place: int) -> str:
        return f"{HOST}:{self.ports[place - 1]}"

    def certified(self, place: int) -> str:
        """The name of a node that has a certificate: ``folder`` has NAME.crt, NAME.key and ca.crt."""
        name = f"n{place}"
        if not (self.folder / f"{name}.crt").exists():
            write_pair(self.folder, name)
        return name

    # Asking

    def ask(self, place: int, request: Request) -> Response:
        """As an operator with the node's own certificate."""
        return ask(self.address(place), request, tls_of(self.folder, self.certified(place)))

    def report(self, at: int) -> Report:
        """What one node says of all."""
        found = self.ask(at, Status())
        assert isinstance(found, Report)
        return found

    def roles(self, at: int) -> dict[int, str]:
        """Voter or learner, as a node knows it."""
        return {each.node: each.role for each in self.report(at).nodes}
