"""The commands, and the end of every process: its exit code and its last line."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tsdb import __version__
from tsdb.cli.cert import cert
from tsdb.cli.cluster import cluster
from tsdb.cli.flags import settings_flags
from tsdb.cli.transfer.commands import export, import_
from tsdb.cli.user import user
from tsdb.errors import ConfigurationError, StartupError

app = typer.Typer(
    name="tsdb",
    help="A SQL time-series database: line protocol in over HTTP, SQL out over the PostgreSQL wire protocol.",
    epilog="Start with: tsdb demo. Exit codes: 0 an orderly end, 1 a failure, 2 wrong settings or usage.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

app.add_typer(user, name="user")
app.add_typer(cert, name="cert")
app.add_typer(cluster, name="cluster")


@app.callback(invoke_without_command=True)
def tsdb(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        typer.echo(f"tsdb {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@settings_flags(app.command(name="start"))
def start(config: Path | None, flags: dict[str, object]) -> None:
    """Serve a data directory until SIGTERM or Ctrl-C.

    When it serves, it prints one line on standard output: tsdb ready: postgresql://HOST:PORT/tsdb http://HOST:PORT/

    Every flag below may also be given as TSDB_NAME in the environment or as a key of a TOML file (--config).
    Sizes and durations take units: 256MiB, 30min.
    """
    from tsdb.cli.start import serve
    from tsdb.config import load

    serve(load(flags, file=config))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the queries, even on a terminal.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the generated metrics.")] = 1,
    hosts: Annotated[int, typer.Option(help="Machines that report every 10 seconds.", min=1, max=10_000)] = 200,
) -> None:
    """Start a server on free ports, load an hour of generated metrics over HTTP and query them with SQL."""
    from tsdb.cli.demo import run

    run(seed=seed, hosts=hosts, keep_serving=sys.stdout.isatty() and not once)


@app.command()
def sql(
    url: Annotated[str, typer.Argument(help="Where to connect.")] = "postgresql://127.0.0.1:5432/tsdb",
    command: Annotated[list[str] | None, typer.Option("-c", "--command", help="Run this and end; repeatable.")] = None,
) -> None:
    """Run SQL statements and print tables: from -c, from standard input, or from a prompt."""
    from tsdb.cli.sql import run

    raise typer.Exit(run(url, command or []))


app.command(name="import")(import_)
app.command(name="export")(export)


@app.command()
def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the table of docs/operating.md.")] = False,
) -> None:
    """List all settings with their defaults and bounds."""
    from tsdb.cli.settings import as_markdown, show

    if markdown:
        typer.echo(as_markdown())
    else:
        show()


def main() -> None:
    """Run the command line and end the process.

    At once: kernels may still be compiled in a background thread, and an ordinary exit would wait for its workers.
    """
    code = _run()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run() -> int:
    if sys.flags.optimize:
        return _failed("python -O removes the checks of invariants that tsdb relies on; start it without -O", 2)
    try:
        return int(app(prog_name="tsdb", standalone_mode=False) or 0)
    except typer.TyperException as error:
        return _failed(f"{error.format_message()} (tsdb --help lists what there is)", error.exit_code)
    except ConfigurationError as error:
        return _failed(str(error), 2)
    except StartupError as error:
        return _failed(str(error), error.exit_code)
    except typer.Abort:
        return 130


def _failed(why: str, exit_code: int) -> int:
    line = " ".join(why.split())
    print(f"tsdb: {line}", file=sys.stderr)
    return exit_code
