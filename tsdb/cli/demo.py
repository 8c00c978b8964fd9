"""``tsdb demo``: a server on free ports, an hour of machine metrics over HTTP, a few questions over SQL."""

from __future__ import annotations

import http.client
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.text import Text

from tsdb.cli import metrics
from tsdb.cli.start import place_kernel_cache
from tsdb.cli.tables import print_result
from tsdb.config import LogLevel, load
from tsdb.errors import StartupError

if TYPE_CHECKING:
    from tsdb.server import Server

MINUTES = 60
DATABASE = "tsdb"
STOPPING = (signal.SIGINT, signal.SIGTERM)

QUESTIONS = (
    (
        "Load by region over the last hour, in steps of ten minutes",
        """SELECT time_bucket('10 minutes', time) AS at, region,
       round(avg(usage_user)::numeric, 1) AS user_percent
FROM cpu
WHERE time > now() - interval '1 hour' AND region IN ('eu-west', 'us-east')
GROUP BY at, region
ORDER BY at, region""",
    ),
    (
        "The five busiest machines of the last 15 minutes",
        """SELECT host, region, max(usage_user) AS peak, count(*) AS points
FROM cpu
WHERE time > now() - interval '15 minutes'
GROUP BY host, region
ORDER BY peak DESC, host
LIMIT 5""",
    ),
    (
        "Where the disk is nearly full, with the memory in use: a join of two series",
        """SELECT d.host, last(d.used_percent, d.time) AS disk_percent,
       last(m.used_percent, m.time) AS memory_percent
FROM disk d JOIN mem m ON d.host = m.host AND d.time = m.time
GROUP BY d.host
ORDER BY disk_percent DESC, d.host
LIMIT 5""",
    ),
)


def run(seed: int, hosts: int, keep_serving: bool) -> None:
    """The whole demo. Raises StartupError when something does not come up."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="tsdb-demo-") as folder:
        data = Path(folder)
        place_kernel_cache(data)
        settings = load({"data": data, "pg_port": 0, "http_port": 0, "host": "127.0.0.1", "log_level": LogLevel.ERROR})
        with _serving(console, settings) as server:
            _load(console, server, seed, hosts)
            _ask(console, server)
            _how_to_connect(console, server)
            if keep_serving:
                _wait(console)


@contextmanager
def _serving(console: Console, settings: object) -> Iterator[Server]:
    from tsdb.config import Settings

    assert isinstance(settings, Settings)
    with console.status("Starting a server on free ports …"):
        from tsdb.server import EmbeddedServer, logs

        logs.configure(settings.log_level, settings.log_format)
        embedded = EmbeddedServer(settings)
        server = embedded.__enter__()
    try:
        console.print(f"Server: [bold]{server.pg_url}[/] and [bold]{server.http_url}[/]")
        with console.status("Making the kernels ready (the first time on a machine they are compiled) …"):
            server.warm.result()
        yield server
    finally:
        embedded.__exit__(None, None, None)


def _load(console: Console, server: Server, seed: int, hosts: int) -> None:
    connection = http.client.HTTPConnection(server.host, server.http_port, timeout=60)
    columns = (
        SpinnerColumn(),
        TextColumn("Loading an hour"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("minutes, {task.fields[points]:,} points"),
        TimeElapsedColumn(),
    )
    console.print(f"An hour of metrics from {hosts} machines, every {metrics.INTERVAL_S} seconds:")
    points, busy, size = 0, 0.0, 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("load", total=MINUTES, points=0)
        for body in metrics.line_protocol(seed, hosts, time.time_ns(), MINUTES):
            start = time.perf_counter()
            connection.request("POST", f"/write?db={DATABASE}", body, {"Content-Type": "text/plain; charset=utf-8"})
            response = connection.getresponse()
            answer = response.read()
            busy += time.perf_counter() - start
            if response.status != 204:
                raise StartupError(f"a write was answered {response.status}: {answer[:500].decode(errors='replace')}")
            points += body.count(b"\n")
            size += len(body)
            progress.update(task, advance=1, points=points)
    connection.close()
    console.print(
        f"{points:,} points ({size / 1e6:.1f} MB of line protocol), each one on disk before its write was answered: "
        f"[bold]{points / busy:,.0f} points/s[/] over one connection\n"
    )


def _ask(console: Console, server: Server) -> None:
    with psycopg.connect(server.pg_url, autocommit=True, application_name="tsdb demo") as connection:
        for title, statement in QUESTIONS:
            console.rule(Text(title, style="bold"), align="left")
            console.print(Syntax(statement, "sql", background_color="default", word_wrap=True))
            start = time.perf_counter()
            cursor = connection.execute(statement.encode())
            print_result(console, cursor, time.perf_counter() - start)
            console.print()


def _how_to_connect(console: Console, server: Server) -> None:
    console.rule(Text("Connect", style="bold"), align="left")
    lines = (
        ("psql", f'psql "{server.pg_url}?user=tsdb"'),
        ("Grafana", f"data source PostgreSQL, host {server.host}:{server.pg_port}, database {DATABASE}, user tsdb, "
                    "TLS mode disable"),
        ("Telegraf", f'[[outputs.influxdb]]  urls = ["{server.http_url.rstrip("/")}"]  database = "{DATABASE}"'),
        ("curl", f"curl '{server.http_url}write?db={DATABASE}' --data-binary 'cpu,host=mine usage_user=12.5'"),
    )  # fmt: skip
    for name, text in lines:
        console.print(Text.assemble((f"{name:9}", "bold"), text), soft_wrap=True)
    console.print()


def _wait(console: Console) -> None:
    # Python leaves SIGINT alone where the parent ignores it, as shells do for what they start in the background. And an
    # exception that a signal raises is lost if a destructor runs just then.
    asked, ask = os.pipe()
    for number in STOPPING:
        signal.signal(number, lambda *_: os.write(ask, b"."))
    console.print("Serving until Ctrl-C; the data goes with the demo. [bold]tsdb start[/] serves a directory of yours.")
    os.read(asked, 1)
    for number in STOPPING:
        signal.signal(number, signal.default_int_handler)
    os.close(asked)
    os.close(ask)
    console.print()
