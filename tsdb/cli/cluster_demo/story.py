"""What happens in ``tsdb cluster demo``, from an empty folder to its last line."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from rich.console import Console
from rich.text import Text

from tsdb.cli.cluster_demo.nodes import COUNT, DemoNode, DemoNodes, connect
from tsdb.cli.cluster_demo.screen import Screen
from tsdb.cli.cluster_demo.writer import POINTS, Writer
from tsdb.cli.start import place_kernel_cache
from tsdb.errors import ConfigurationError, StartupError

DATABASE = "demo"
EXIT_INTERRUPTED = 130
# The first start on a machine compiles kernels.
WARM_S = 600.0
AGAIN_S = 0.2


def run(folder: Path | None, seconds: float, keep_serving: bool) -> int:
    """The whole demo, in ``folder`` or a temporary one; its exit code.

    ``seconds`` pass between two events. Raises ConfigurationError, StartupError.
    """
    # Python leaves SIGINT alone where the parent ignores it, as shells do for what they start in the background.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    code = EXIT_INTERRUPTED
    try:
        with _folder(folder) as place:
            place_kernel_cache(place)
            nodes = DemoNodes(place)
            try:
                screen = Screen(console, nodes)
                _begin(screen, nodes)
                _story(screen, nodes, seconds)
                code = 0
                if keep_serving:
                    _serve(console, nodes)
            finally:
                nodes.end()
    except KeyboardInterrupt:
        console.print()
    console.print(_left(folder))
    return code


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        made = Path(tempfile.mkdtemp(prefix="tsdb-cluster-demo-"))
        has_failed = False
        try:
            yield made
        except StartupError:
            # The logs stay: they say why.
            has_failed = True
            raise
        finally:
            if not has_failed:
                shutil.rmtree(made, ignore_errors=True)
        return
    given = given.absolute()
    try:
        given.mkdir(parents=True, exist_ok=True)
        is_used = any(given.iterdir())
    except OSError as error:
        raise ConfigurationError(f"--data {given}: {error.strerror}") from None
    if is_used:
        raise ConfigurationError(f"there is something in {given} already: give an empty directory, or a new one")
    yield given


def _left(folder: Path | None) -> str:
    what = "their directory is removed" if folder is None else f"their directories and logs are in {folder}"
    return f"The nodes have ended; {what}."


def _begin(screen: Screen, nodes: DemoNodes) -> None:
    """Three nodes that vote and have loaded their kernels, and a database that all of them are to have."""
    from tsdb.cluster.group import control

    nodes.make_certificates()
    nodes.found()
    for node in nodes:
        nodes.start(node)
        assert node.process is not None
        screen.say(f'{node.name} serves, process {node.process.pid}: psql "{node.pg_url(DATABASE)}?user=tsdb"')
        what = "making the kernels ready (the first time on a machine they are compiled)"
        screen.until(node.is_warm, f"{node.name}: {what}", WARM_S)

    def all_vote() -> bool:
        report = nodes.ask(control.Status())
        return isinstance(report, control.Report) and [each.role for each in report.nodes] == ["voter"] * COUNT

    screen.until(all_vote, "giving each node its vote")
    nodes.ask(control.Replicate(COUNT))
    try:
        with connect(nodes[1], "tsdb") as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    except psycopg.Error as error:
        raise StartupError(f"the database could not be made: {error}") from None
    screen.say(f'database "{DATABASE}": its points are on {COUNT} nodes, a write is answered when a majority has it')


def _story(screen: Screen, nodes: DemoNodes, seconds: float) -> None:
    writer = Writer([node.http_port for node in nodes], DATABASE)
    writer.start()
    screen.shows(writer)
    try:
        screen.until(lambda: writer.acknowledged > 0, "the first write")
        screen.until(lambda: _looked(screen, nodes) > 0, "looking for who leads")
        screen.say(f"writing {POINTS} points at a time, to each node in turn; {nodes[screen.leader].name} leads")
        screen.pause(seconds)
        killed, missed_from = _kill(screen, nodes, writer)
        screen.pause(seconds)
        _rejoin(screen, nodes, writer, killed, missed_from)
        screen.pause(seconds)
    finally:
        writer.stop()
    again = f"; {writer.sent_again} writes had to be sent again" if writer.sent_again else ""
    screen.say(f"writing has ended: {writer.points:,} points were acknowledged{again}")
    screen.until(lambda: len({node.applied() for node in nodes}) == 1, "waiting until all nodes have applied the same")
    _count(screen, nodes, writer)


def _looked(screen: Screen, nodes: DemoNodes) -> int:
    screen.leader = nodes.leader(DATABASE)
    return screen.leader


def _kill(screen: Screen, nodes: DemoNodes, writer: Writer) -> tuple[DemoNode, int]:
    """Of the node that leads. It, and how many points were acknowledged before."""
    leader = nodes[screen.leader]
    assert leader.process is not None
    pid = leader.process.pid
    before, screen.leader = writer.points, 0
    writer.interrupted(time.monotonic())
    nodes.kill(leader)
    screen.say(f"kill -9 {pid}: {leader.name} is dead, which led all of the database", "bold red")
    screen.until(lambda: writer.resumed_ms is not None, "waiting for another node to lead")
    screen.until(lambda: _looked(screen, nodes) not in (0, leader.number), "looking for who leads")
    screen.say(f"writes go on after {writer.resumed_ms:,.0f} ms: {nodes[screen.leader].name} leads now", "bold green")
    return leader, before


def _rejoin(screen: Screen, nodes: DemoNodes, writer: Writer, node: DemoNode, before: int) -> None:
    missed = writer.points - before
    screen.say(f"starting {node.name} again; {missed:,} points were acknowledged without it", "bold")
    began = time.monotonic()
    nodes.start(node)
    served_s = time.monotonic() - began
    target = nodes[screen.leader].applied()
    screen.until(lambda: node.applied() >= target, f"waiting until {node.name} has caught up")
    caught_s = time.monotonic() - began
    screen.say(
        f"{node.name} is back: it served after {served_s:.1f} s and had all that the others had then after "
        f"{caught_s:.1f} s", "bold green",
    )  # fmt: skip


def _count(screen: Screen, nodes: DemoNodes, writer: Writer) -> None:
    """Every acknowledged point, asked of each node. Raises StartupError."""
    for node in nodes:
        found = _batches(node)
        wrong = [number for number in range(1, writer.acknowledged + 1) if found.get(number) != POINTS]
        if wrong:
            there = sum(min(found.get(number, 0), POINTS) for number in wrong)
            lost, double = POINTS * len(wrong) - there, sum(max(found.get(n, 0) - POINTS, 0) for n in wrong)
            raise StartupError(
                f"asked of {node.name}: of {writer.points} acknowledged points {lost} are gone, and {double} are there "
                f"twice; logs of the nodes: {nodes.folder}"
            )
    screen.say(
        f"every acknowledged point is there, once: {writer.points:,} of {writer.points:,}, asked of each of the "
        f"{COUNT} nodes", "bold green",
    )  # fmt: skip


def _batches(node: DemoNode) -> dict[int, int]:
    """How many points of each batch a node answers with. Raises StartupError."""
    end = time.monotonic() + 60
    while True:
        try:
            with connect(node, DATABASE) as connection:
                rows = connection.execute("SELECT batch, count(*) FROM points GROUP BY batch").fetchall()
        except psycopg.OperationalError as error:
            if time.monotonic() > end:
                raise StartupError(f"{node.name} did not count the points: {error}") from None
            time.sleep(AGAIN_S)
        else:
            return {int(batch): int(count) for batch, count in rows}


def _serve(console: Console, nodes: DemoNodes) -> None:
    console.print(Text("Serving until Ctrl-C. In another terminal:"))
    one = nodes[1]
    files = f"--cluster-ca {nodes.folder}/ca.crt --cluster-cert {one.data}.crt --cluster-key {one.data}.key"
    for text in (
        f"psql \"{one.pg_url(DATABASE)}?user=tsdb\" -c 'SELECT count(*) FROM points'",
        f"tsdb cluster status --at {one.address} {files}",
    ):
        console.print(Text(text), soft_wrap=True)
    never = threading.Event()
    while True:
        nodes.check()
        never.wait(1.0)
