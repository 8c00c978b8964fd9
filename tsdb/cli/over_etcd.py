"""``tsdb cluster`` and ``tsdb user`` where the metadata is in etcd: that is asked, by the settings of a node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from tsdb.config import EMBEDDED
from tsdb.errors import ConfigurationError, StartupError, TsdbError

if TYPE_CHECKING:
    from tsdb.cluster.etcd.operator import NodeSeen, Operator, Seen
    from tsdb.config import Settings


def is_meant(settings: Settings) -> bool:
    return settings.metadata != EMBEDDED


@contextmanager
def operator(settings: Settings) -> Iterator[Operator]:
    """Raises StartupError, for whatever etcd or the cluster refuses; ConfigurationError."""
    from tsdb.cluster.etcd.operator import Operator
    from tsdb.server.cluster import etcd_of

    try:
        with closing(Operator(etcd_of(settings))) as found:
            yield found
    except (ConfigurationError, StartupError):
        raise
    except TsdbError as error:
        raise StartupError(one_line(error)) from None


def one_line(error: TsdbError) -> str:
    parts = (error.message, error.detail, error.hint)
    return " ".join(part if part.endswith((".", "!")) else f"{part}." for part in parts if part)


def refuse(settings: Settings, command: str, instead: str) -> None:
    """Raises ConfigurationError where the metadata is in etcd."""
    if is_meant(settings):
        raise ConfigurationError(f"tsdb cluster {command} is for metadata that the nodes keep themselves: {instead}")


def show(seen: Seen, where: str) -> None:
    from uuid import UUID

    from tsdb.cli.tables import aligned
    from tsdb.cluster.operations import NOT_MOVED

    decides = f"node {seen.decides} decides" if seen.decides else "nobody decides just now"
    typer.echo(f"cluster {UUID(bytes=seen.cluster)}, {decides}; metadata at {where}, {seen.commands} commands\n")
    head = ("node", "role", "runs", "locations", "leads", "addresses")
    typer.echo(aligned([head, *map(_line, seen.nodes)]))
    for each in seen.nodes:
        if each.draining and each.held:
            typer.echo(f"\nnode {each.node} drains, and keeps its {each.held} locations: {NOT_MOVED}")


def _line(node: NodeSeen) -> tuple[str, ...]:
    role = ("coordinator" if node.decides else "node") + (", draining" if node.draining else "")
    addresses = " ".join(f"{purpose}={address}" for purpose, address in node.addresses)
    return str(node.node), role, "yes" if node.runs else "NO", str(node.held), str(node.leads), addresses
