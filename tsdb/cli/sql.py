"""``tsdb sql``: a small client for the SQL port, where psql is not installed. psql itself works too and does more."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator

import psycopg
from rich.console import Console
from rich.text import Text

from tsdb.cli.tables import print_result
from tsdb.errors import StartupError

PROMPT, PROMPT_MORE = "tsdb=> ", "tsdb-> "


def run(url: str, commands: list[str]) -> int:
    """Run ``commands``, else what standard input says; returns the exit code: 1 when a statement failed.

    Raises StartupError when there is no connection.
    """
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="tsdb sql", connect_timeout=10)
    except psycopg.OperationalError as error:
        raise StartupError(f"cannot connect to {_without_password(url)}: {_reason(error)}") from None
    except psycopg.ProgrammingError as error:
        raise StartupError(f"{_without_password(url)} is not a connection string: {error}") from None
    console, failed = Console(highlight=False), Console(stderr=True, highlight=False)
    connection.add_notice_handler(lambda notice: failed.print(Text(f"{notice.severity}: {notice.message_primary}")))
    with connection:
        if commands:
            return _execute_all(connection, commands, console, failed)
        interactive = sys.stdin.isatty()
        exit_code = _execute_all(connection, statements(_lines(interactive)), console, failed)
        return 0 if interactive else exit_code


def _execute_all(connection: psycopg.Connection, texts: Iterable[str], console: Console, failed: Console) -> int:
    exit_code = 0
    for text in texts:
        if not _execute(connection, text, console, failed):
            exit_code = 1
    return exit_code


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.rpartition("@")[2] if mark else "the server"


def _reason(error: psycopg.Error) -> str:
    """The last line of the message; libpq indents its advice, which says less."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1] if lines else type(error).__name__


def _execute(connection: psycopg.Connection, text: str, console: Console, failed: Console) -> bool:
    start = time.perf_counter()
    try:
        # The simple protocol, as psql does: the text may hold several statements.
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(text.encode())
            seconds = time.perf_counter() - start
            print_result(console, cursor, seconds)
            while cursor.nextset():
                print_result(console, cursor, seconds)
    except KeyboardInterrupt:
        connection.cancel_safe()
        failed.print("cancelled")
        return False
    except psycopg.Error as error:
        failed.print(Text(f"ERROR: {str(error) or type(error).__name__}"))
        if connection.closed:
            raise StartupError("the server closed the connection") from None
        return False
    return True


def _lines(interactive: bool) -> Iterator[str | None]:
    """Lines of standard input; from a terminal with a prompt, where Ctrl-D or \\q ends them and Ctrl-C is None."""
    if not interactive:
        yield from sys.stdin
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() its editing keys and history)
    begun = False
    while True:
        try:
            line = input(PROMPT_MORE if begun else PROMPT)
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            begun = False
            yield None
            continue
        if line.strip() in ("\\q", "exit", "quit"):
            return
        if not begun and line.startswith("\\"):
            print("of the backslash commands there is only \\q")
            continue
        begun = (begun or bool(line.strip())) and not line.rstrip().endswith(";")
        yield line + "\n"


def statements(lines: Iterable[str | None]) -> Iterator[str]:
    """Texts to send: lines up to one that ends in a semicolon, what is left at the end; None drops what is begun."""
    text = ""
    for line in lines:
        if line is None:
            text = ""
            continue
        text += line
        if line.rstrip().endswith(";"):
            yield text
            text = ""
    if text.strip():
        yield text
