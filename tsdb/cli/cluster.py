"""``tsdb cluster``: founding a cluster, looking at it, and changing who belongs to it.

All but ``init``, ``demo`` and ``force-recover`` ask a running node, any of them, over the nodes' own port with a
certificate of the cluster; with metadata in etcd they ask etcd (``over_etcd``). Settings and environment are those of
``tsdb start``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsdb.cli import over_etcd
from tsdb.errors import ConfigurationError, StartupError, TsdbError

if TYPE_CHECKING:
    from tsdb.cluster.group.control import NodeReport, Report, Request, Response
    from tsdb.config import Settings

cluster = typer.Typer(
    help="Found a cluster, look at it, and change who belongs to it. A node joins by: tsdb start --join HOST:PORT.",
    no_args_is_help=True,
)

At = Annotated[
    str | None,
    typer.Option("--at", help="Any running node. \\[TSDB_CLUSTER_LISTEN]", metavar="HOST:PORT", show_default=False),
]
_CERTIFICATE = "With --cluster-ca and --cluster-key: a certificate of the cluster, any node's or one for operators."
Ca = Annotated[
    Path | None,
    typer.Option("--cluster-ca", help="Certificate of the authority. Also TSDB_CLUSTER_CA.", metavar="FILE"),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--cluster-cert", help="Certificate to show. Also TSDB_CLUSTER_CERT.", metavar="FILE"),
]
Key = Annotated[
    Path | None, typer.Option("--cluster-key", help="Its private key. Also TSDB_CLUSTER_KEY.", metavar="FILE")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file (TOML). Also TSDB_CONFIG.", metavar="FILE")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Directory of the data. Also TSDB_DATA.", metavar="DIR", show_default=False),
]
Metadata = Annotated[
    str | None,
    typer.Option(
        "--metadata", help="Where the metadata is, if not with the nodes. Also TSDB_METADATA, and what goes with it.",
        metavar="etcd://…", show_default=False,
    ),
]  # fmt: skip
NodeNumber = Annotated[int, typer.Argument(help="Number of the node (tsdb cluster status).", metavar="NODE", min=1)]


@cluster.command()
def init(data: Data = None, config: Config = None) -> None:
    """Found a cluster in a new data directory. Its first node is started with tsdb start --cluster-listen …, and the
    others with --join."""
    from tsdb.cli.start import place_kernel_cache
    from tsdb.cluster.node import Node
    from tsdb.storage.rocks import is_there

    settings = _settings(config, {"data": data})
    over_etcd.refuse(settings, "init", "over etcd the first node that is started founds the cluster")
    path = settings.data
    if is_there(path):
        raise ConfigurationError(f"there is a data directory at {path} already, and it is a cluster's")
    path.mkdir(parents=True, exist_ok=True)
    place_kernel_cache(path)
    with closing(Node.open(path)) as node:
        identity = node.engine.identity
    assert identity is not None, "a founded directory knows who it is"
    typer.echo(f"cluster {identity.cluster} founded: {path} is node {identity.node}, {identity.uuid}")


@cluster.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A new directory, which stays. Otherwise a temporary one.", metavar="DIR"),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long is written between two events.", min=0.1, max=3600.0)] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="End after the count, even on a terminal.")] = False,
) -> None:
    """Run three nodes on this machine, kill -9 one while points are written, let it come back, and count the points.

    All points that were acknowledged must be there, at each node. Nothing is left behind; Ctrl-C ends it at any time.
    """
    from tsdb.cli.cluster_demo.story import run

    raise typer.Exit(run(data, seconds, keep_serving=sys.stdout.isatty() and not once))


@cluster.command()
def status(
    at: At = None, ca: Ca = None, cert: Certificate = None, key: Key = None, metadata: Metadata = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Show the nodes: who votes, who leads, how far each has come, and how many locations it holds and leads."""
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, metadata)
    if over_etcd.is_meant(settings):
        with over_etcd.operator(settings) as etcd:
            over_etcd.show(etcd.seen(), settings.metadata)
        return
    report = _asked(settings, at, control.Status())
    assert isinstance(report, control.Report)
    leader = next((each for each in report.nodes if each.node == report.leader), None)
    if report.leader not in (0, report.node) and leader is not None:
        # What the others have, only the leader knows.
        try:
            seen = _asked(settings, dict(leader.addresses).get("cluster"), control.Status())
        except (ConfigurationError, StartupError) as error:
            typer.echo(f"tsdb: the leader, node {leader.node}, did not answer: {error}", err=True)
        else:
            assert isinstance(seen, control.Report)
            report = seen
    _show(report)


def _show(report: Report) -> None:
    from uuid import UUID

    from tsdb.cli.tables import aligned

    leads = f"node {report.leader} leads" if report.leader else "NOBODY LEADS: nothing of the metadata can be changed"
    offset = "unknown" if report.clock_offset_s is None else f"{report.clock_offset_s:+.3f} s"
    typer.echo(f"cluster {UUID(bytes=report.cluster)}, {leads} (term {report.term}); seen by node {report.node}")
    typer.echo(f"committed {report.committed}, applied {report.applied}; others' clocks: {offset}")
    if report.replication_factor:
        replicas = "1 replica" if report.replication_factor == 1 else f"{report.replication_factor} replicas"
        typer.echo(f"a database that is created now has {replicas}")
    typer.echo()
    head = ("node", "name", "role", "reached", "behind", "silent", "locations", "leads", "addresses")
    typer.echo(aligned([head, *(_line(report, each) for each in report.nodes)]))
    for note in report.notes:
        typer.echo(f"\n{note}")


def _line(report: Report, node: NodeReport) -> tuple[str, ...]:
    role = "leader" if node.node == report.leader else node.role
    is_here = node.node == report.node
    known = node.match >= 0 or is_here
    behind = "0" if is_here else str(max(report.committed - node.match, 0))
    silent = "-" if node.silent_s < 0 or is_here else f"{node.silent_s:.0f} s"
    reached = "-" if not known else "yes" if is_here or 0 <= node.silent_s < SILENT_S else "NO"
    return (
        str(node.node), node.name or "-", role + (", draining" if node.draining else ""), reached,
        behind if known else "-", silent, str(node.locations), str(node.leads),
        " ".join(f"{purpose}={address}" for purpose, address in node.addresses),
    )  # fmt: skip


SILENT_S = 3.0
"""A node that the leader has not heard for so long is shown as not reached."""


@cluster.command()
def drain(
    node: NodeNumber, at: At = None, ca: Ca = None, cert: Certificate = None, key: Key = None,
    metadata: Metadata = None, config: Config = None,
) -> None:  # fmt: skip
    """Before a node is to go: it gets no new database, and its lead and vote go to others.

    What it has of databases is copied to other nodes, while these are written and read. A node that holds nothing can
    be removed.
    """
    _drain(_operators(config, at, ca, cert, key, metadata), at, node, draining=True)


@cluster.command()
def add(
    node: NodeNumber, at: At = None, ca: Ca = None, cert: Certificate = None, key: Key = None,
    metadata: Metadata = None, config: Config = None,
) -> None:  # fmt: skip
    """Take a drain back: the node may vote, and gets new databases again.

    It makes no node: a new one adds itself when it is started, by tsdb start --join HOST:PORT (over etcd: with the
    same --metadata).
    """
    _drain(_operators(config, at, ca, cert, key, metadata), at, node, draining=False)


@cluster.command()
def remove(
    node: NodeNumber,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Also one that holds locations: what only it has is lost.")
    ] = False,
    at: At = None,
    ca: Ca = None,
    cert: Certificate = None,
    key: Key = None,
    metadata: Metadata = None,
    config: Config = None,
) -> None:
    """Remove a node for ever: its number and its data directory never come back. If it runs, it stops by itself."""
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, metadata)
    if over_etcd.is_meant(settings):
        with over_etcd.operator(settings) as etcd:
            typer.echo(etcd.remove(node, accept_loss=accept_loss))
        return
    _do(settings, at, control.Remove(node, accept_loss))


@cluster.command()
def replication(
    factor: Annotated[int, typer.Argument(help="How many nodes have a database.", metavar="FACTOR", min=1, max=7)],
    database: Annotated[
        str, typer.Option(help="A database that there is, in place of those to come.", metavar="NAME")
    ] = "",
    at: At = None,
    ca: Ca = None,
    cert: Certificate = None,
    key: Key = None,
    config: Config = None,
) -> None:
    """Have databases that are created from now on at so many nodes: 3, and one may be lost. Others stay as they are.

    With --database have one that there is at so many nodes, whatever it has now. It is written and read meanwhile; what
    other nodes are to have is copied there. Of 1 the node keeps it that leads it.
    """
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, None)
    over_etcd.refuse(settings, "replication", "nodes over etcd do not replicate points: each database is on one node")
    _do(settings, at, control.Replicate(factor, database))


@cluster.command()
def check(
    database: Annotated[str, typer.Argument(help="A replicated database.", metavar="DATABASE")],
    seconds: Annotated[float, typer.Option(help="How long is waited for an answer.", min=1.0, max=3600.0)] = 60.0,
    at: At = None, ca: Ca = None, cert: Certificate = None, key: Key = None, config: Config = None,
) -> None:  # fmt: skip
    """Compare what the nodes have of a database, all of it. What is not what most of them have is made anew.

    The nodes do so by themselves again and again (replica_check_interval). What was found is in
    tsdb.replica_differences.
    """
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, None)
    over_etcd.refuse(settings, "check", "nodes over etcd do not replicate points: there is nothing to compare")
    report = _asked(settings, at, control.Status())
    assert isinstance(report, control.Report)
    locations, compared, different = 0, set[int](), set[int]()
    answers = _asked_all(settings, report, control.Check(database, seconds), seconds + 10)
    if not answers:
        raise typer.Exit(1)
    for answer in answers:
        assert isinstance(answer, control.Checked)
        locations = max(locations, answer.locations)
        compared.update(answer.compared)
        different.update(answer.different)
    typer.echo(f"{locations} locations, {len(compared)} compared, {len(different)} of them different")
    if len(compared) < locations:
        typer.echo(
            "tsdb: those that were not compared are on their way to other nodes or led by nobody now, not all of their "
            f"nodes answer, or they took more than {seconds:g} s (--seconds)",
            err=True,
        )
    if different or len(compared) < locations or not locations:
        raise typer.Exit(1)


@cluster.command()
def rebalance(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan.")] = False, at: At = None,
    ca: Ca = None, cert: Certificate = None, key: Key = None, config: Config = None,
) -> None:  # fmt: skip
    """Move replicated databases, and their leads, so that all nodes have about as much: after one has joined.

    The plan is printed. Databases are copied while they are written and read, a few at a time (setting copy_rate);
    tsdb.locations shows where they are on their way to. It can be asked for again at any time.
    """
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, None)
    over_etcd.refuse(settings, "rebalance", "nodes over etcd do not replicate points: each database is on one node")
    _do(settings, at, control.Rebalance(dry_run))


@cluster.command()
def spread(
    database: Annotated[str, typer.Argument(help="A database that there is.", metavar="DATABASE")],
    arcs: Annotated[int, typer.Argument(help="1 to 32.", metavar="ARCS", min=1, max=32)], at: At = None,
    ca: Ca = None, cert: Certificate = None, key: Key = None, config: Config = None,
) -> None:  # fmt: skip
    """Have parts of a database at nodes of their own, so that it uses more nodes than it has replicas.

    Its ring is cut into so many arcs; the next rebalance moves them, and their leads, to where all nodes have about as
    much. About as many arcs as nodes are enough. A multiple of the arcs that there are is had at once; for another
    number the parts of each new arc come to the same nodes first, while they are written and read: there are more arcs
    until then (tsdb.locations), and a rebalance is refused. With 1 all of it goes to the same nodes again.
    """
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, None)
    over_etcd.refuse(settings, "spread", "nodes over etcd do not replicate points: each database is on one node")
    _do(settings, at, control.Spread(database, arcs))


Arc = Annotated[
    int | None,
    typer.Argument(
        help="As tsdb.locations counts them: 1 is the first.", metavar="[ARC]", min=1, max=32, show_default=False
    ),
]
OnlySay = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


@cluster.command()
def split(
    database: Annotated[str, typer.Argument(help="A database that there is.", metavar="DATABASE")],
    arc: Arc = None, dry_run: OnlySay = False, at: At = None,
    ca: Ca = None, cert: Certificate = None, key: Key = None, config: Config = None,
) -> None:  # fmt: skip
    """Cut an arc of a database in two, at the median of what was written to it: that to which most was, or ARC.

    Half of the rows that were written of late (each counts half after six hours) lie on each side, as far as whole
    locations allow. Nothing moves by that: the next rebalance moves the arcs, as after tsdb cluster spread.
    """
    _divide(database, "split", arc, dry_run, at, _operators(config, at, ca, cert, key, None))


@cluster.command()
def merge(
    database: Annotated[str, typer.Argument(help="A database that there is.", metavar="DATABASE")],
    arc: Arc = None, dry_run: OnlySay = False, at: At = None,
    ca: Ca = None, cert: Certificate = None, key: Key = None, config: Config = None,
) -> None:  # fmt: skip
    """Have two arcs of a database that lie side by side be one: those to which least was written, or ARC and the next.

    The second one comes to the nodes of the first while it is written and read; until then there are two.
    """
    _divide(database, "merge", arc, dry_run, at, _operators(config, at, ca, cert, key, None))


def _divide(database: str, what: str, arc: int | None, dry_run: bool, at: str | None, settings: Settings) -> None:
    from tsdb.cluster.group import control

    over_etcd.refuse(settings, what, "nodes over etcd do not replicate points: each database is on one node")
    request = control.Split if what == "split" else control.Merge
    _do(settings, at, request(database, arc or 0, dry_run))


@cluster.command(name="transfer-leader")
def transfer_leader(
    node: NodeNumber, at: At = None, ca: Ca = None, cert: Certificate = None, key: Key = None, config: Config = None
) -> None:
    """Have another voting node lead the group that keeps the metadata."""
    from tsdb.cluster.group import control

    settings = _operators(config, at, ca, cert, key, None)
    instead = "over etcd nobody votes, and nobody waits for the node that decides; when it stops, another one does"
    over_etcd.refuse(settings, "transfer-leader", instead)
    _do(settings, at, control.Transfer(node))


@cluster.command(name="force-recover")
def force_recover(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Say that what only the other nodes have may be lost.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a cluster of one node out of the directory of a stopped node, when most voting nodes are lost for good.

    The other nodes are removed, and their points are lost. The cluster gets a new id: nodes of the old one that still
    run somewhere are strangers to it, and new ones join it with empty directories.
    """
    from tsdb.storage.rocks import is_there

    if not accept_loss:
        raise ConfigurationError(
            "force-recover gives up all other nodes and what only they have: say --accept-loss, or bring more than "
            "half of the voting nodes back"
        )
    settings = _settings(config, {"data": data})
    instead = "what etcd has lost comes back from a backup of etcd, as its own manual says"
    over_etcd.refuse(settings, "force-recover", instead)
    path = settings.data
    if not is_there(path):
        raise StartupError(f"there is no data directory at {path}")
    from tsdb.cluster.group.recovering import recover

    try:
        gone, identity = recover(path)
    except TsdbError as error:
        raise StartupError(over_etcd.one_line(error)) from None
    nodes = ", ".join(map(str, gone)) or "none"
    typer.echo(f"node {identity.node} is cluster {identity.cluster} by itself; removed nodes: {nodes}")


# How it is done


def _settings(config: Path | None, given: Mapping[str, object]) -> Settings:
    from tsdb.config import load

    return load({name: value for name, value in given.items() if value is not None}, file=config)


def _operators(
    config: Path | None, at: str | None, ca: Path | None, cert: Path | None, key: Path | None, metadata: str | None
) -> Settings:
    """Of a command for a cluster that runs. Raises ConfigurationError."""
    settings = _settings(config, {"cluster_ca": ca, "cluster_cert": cert, "cluster_key": key, "metadata": metadata})
    if at is not None and over_etcd.is_meant(settings):
        raise ConfigurationError("--at is a node's address, and with metadata in etcd etcd is asked: give one of both")
    return settings


def _drain(settings: Settings, at: str | None, node: int, *, draining: bool) -> None:
    from tsdb.cluster.group import control

    if over_etcd.is_meant(settings):
        with over_etcd.operator(settings) as etcd:
            typer.echo(etcd.drain(node, draining=draining))
        return
    _do(settings, at, control.Drain(node, draining))


def _do(settings: Settings, at: str | None, request: Request) -> None:
    from tsdb.cluster.group import control

    answer = _asked(settings, at, request)
    assert isinstance(answer, control.Done)
    typer.echo(answer.text)


def _asked_all(settings: Settings, report: Report, request: Request, seconds: float) -> list[Response]:
    """The answers of all nodes, which are asked at once; what is wrong with a node is said. Raises StartupError for
    what all of them say alike."""
    from concurrent.futures import ThreadPoolExecutor

    def asked(node: NodeReport) -> Response | StartupError:
        address = dict(node.addresses).get("cluster")
        try:
            if address is None:
                raise StartupError("nobody knows where it is yet")
            return _asked(settings, address, request, seconds)
        except StartupError as error:
            return error

    with ThreadPoolExecutor(len(report.nodes)) as pool:
        found = [*pool.map(asked, report.nodes)]
    errors: dict[str, list[int]] = {}
    for node, each in zip(report.nodes, found, strict=True):
        if isinstance(each, StartupError):
            errors.setdefault(str(each), []).append(node.node)
    for error, nodes in errors.items():
        if len(nodes) == len(found):
            raise StartupError(error)
        typer.echo(f"tsdb: node {', '.join(map(str, nodes))}: {error}", err=True)
    return [each for each in found if not isinstance(each, StartupError)]


def _asked(settings: Settings, at: str | None, request: Request, seconds: float | None = None) -> Response:
    """Raises ConfigurationError, StartupError."""
    from tsdb.cluster.group.operator import ANSWER_S, ask
    from tsdb.cluster.transport.tls import NodeTls
    from tsdb.config import split_address

    address = at or settings.cluster_address or settings.cluster_listen
    if not address:
        raise ConfigurationError("which node? Give --at HOST:PORT, the cluster_listen of any of them")
    split_address(address, "--at")
    if settings.cluster_ca is None or settings.cluster_cert is None or settings.cluster_key is None:
        raise ConfigurationError("--cluster-ca, --cluster-cert and --cluster-key are needed: see tsdb cert")
    try:
        tls = NodeTls(settings.cluster_cert, settings.cluster_key, settings.cluster_ca)
        return ask(address, request, tls, ANSWER_S if seconds is None else seconds)
    except TsdbError as error:
        raise StartupError(over_etcd.one_line(error)) from None
