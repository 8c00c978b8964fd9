"""The flags of ``tsdb import`` and ``tsdb export``, and their last lines."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tsdb.cli.start import place_kernel_cache
from tsdb.errors import ConfigurationError

SQL = "postgresql://127.0.0.1:5432/tsdb"
Url = Annotated[str, typer.Option("--sql", help="Where the server's SQL port is.", metavar="URL")]
Time = Annotated[str, typer.Option("--time", help="Column with the time.", metavar="COLUMN")]
Tags = Annotated[str, typer.Option("--tags", help="Columns that are tags, with commas between.", metavar="COLUMNS")]


def import_(
    files: Annotated[list[str], typer.Argument(help="Files, directories, globs, or - for standard input.")],
    sql: Url = SQL,
    http: Annotated[
        str, typer.Option(help="Where its HTTP port is; line protocol goes there.", metavar="URL")
    ] = "http://127.0.0.1:8086",
    database: Annotated[str, typer.Option(help="Database of line protocol [that of --sql].", metavar="NAME")] = "",
    table: Annotated[str, typer.Option(help="Table of CSV and Parquet [the file's name].", metavar="NAME")] = "",
    time_column: Annotated[
        str,
        typer.Option(
            "--time",
            help='Column with the time; without it "time", or that of the table.',
            metavar="COLUMN",
            show_default=False,
        ),
    ] = "",
    tags: Annotated[
        str,
        typer.Option("--tags", help="Columns that a new table's key has before the time.", metavar="COLUMNS"),
    ] = "",
    precision: Annotated[str, typer.Option(help="Unit of times that are numbers.", metavar="UNIT")] = "ns",
    format_: Annotated[
        str | None, typer.Option("--format", help="lp, csv or parquet [by the file's name].", metavar="WORD")
    ] = None,
    user: Annotated[str | None, typer.Option(help="User for HTTP, with PGPASSWORD.", metavar="NAME")] = None,
    producer: Annotated[
        str, typer.Option(help="Name of what comes from standard input, to go on with it.", metavar="NAME")
    ] = "",
    journal: Annotated[Path | None, typer.Option(help="Directory of journals.", metavar="DIR")] = None,
) -> None:
    """Import line protocol, CSV and Parquet, plain or packed by gzip or zstd.

    Interrupted and started again it goes on where it was, and stores nothing twice. A table of CSV or Parquet that is
    not there is made, with a key of --tags and the time. Exit code 1: something was refused; it says what and where.
    """
    place_kernel_cache(journal or _journals())
    from tsdb.cli.transfer.files import FORMATS, sources
    from tsdb.cli.transfer.job import Job, Wanted, counted, summary
    from tsdb.cli.transfer.send import database_of

    if format_ is not None and format_ not in FORMATS.values():
        raise ConfigurationError(f'format "{format_}" is not lp, csv or parquet')
    wanted = Wanted(
        http,
        sql,
        database or database_of(sql),
        table,
        time_column,
        _names(tags),
        precision,
        user,
        producer,
        journal or _journals(),
    )
    started = time.monotonic()
    reports = Job(sources(files, format_), wanted).run(Console(stderr=True))
    for report in reports:
        typer.echo(f"{report.source.path}: {counted(report.rows, 'row')}", nl=report.is_good)
        if not report.is_good:
            typer.echo(f", {counted(report.refused, 'line')} refused" if report.refused else "", nl=False)
            typer.echo(f", failed: {report.failed}" if report.failed else "")
        for line in report.shown:
            typer.echo(f"  {line}", err=True)
    typer.echo(summary(reports, time.monotonic() - started))
    if not all(report.is_good for report in reports):
        raise typer.Exit(1)


def export(
    table: Annotated[str, typer.Argument(help="Table; or --query.", metavar="[TABLE]")] = "",
    query: Annotated[str, typer.Option(help="Rows of a query instead of a table.", metavar="SQL")] = "",
    output: Annotated[
        str, typer.Option("-o", "--output", help="File (.gz and .zst are packed), directory of a partition, or -.")
    ] = "-",
    format_: Annotated[str | None, typer.Option("--format", help="csv, parquet or lp [by --output].")] = None,
    since: Annotated[str, typer.Option("--from", help="First time of a table's rows.", metavar="TIME")] = "",
    until: Annotated[str, typer.Option("--to", help="Time before which they end.", metavar="TIME")] = "",
    partition: Annotated[
        str, typer.Option(help="Split Parquet by columns, or by year, month, day or hour.", metavar="NAMES")
    ] = "",
    tags: Tags = "",
    time_column: Time = "time",
    sql: Url = SQL,
) -> None:
    """Export a table, or what a query gives, as CSV, Parquet or line protocol, as it streams."""
    from tsdb.cli.transfer.export import Wanted
    from tsdb.cli.transfer.export import export as run
    from tsdb.cli.transfer.files import format_of

    known = format_ or ("parquet" if partition else format_of(Path(output)) or "csv")
    if known not in ("csv", "parquet", "lp"):
        raise ConfigurationError(f'format "{known}" is not csv, parquet or lp')
    started = time.monotonic()
    rows, without = run(
        Wanted(sql, table, query, since, until, output, known, time_column, _names(tags), _names(partition))
    )
    seconds = time.monotonic() - started
    left = f", {without:,} without a field left out" if without else ""
    print(f"{rows:,} rows{left} in {seconds:.1f} s ({rows / max(seconds, 0.001):,.0f} rows/s)", file=sys.stderr)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _journals() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(home) / "tsdb" / "imports"
