"""``tsdb user``: users of a data directory that no server has open. A running server is told by SQL."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tsdb.errors import ConfigurationError, StartupError, TsdbError

if TYPE_CHECKING:
    from tsdb.cluster.node import Node

user = typer.Typer(
    help="Users of a data directory that no server has open; a running server is told by SQL (CREATE USER …).",
    no_args_is_help=True,
)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Directory of the data. Also TSDB_DATA.", metavar="DIR", show_default=False),
]
Name = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")]
T = TypeVar("T")


@user.command()
def add(
    name: Name,
    superuser: Annotated[bool, typer.Option("--superuser", help="May do everything.")] = False,
    data: Data = None,
) -> None:
    """Add a user with a password, asked for on a terminal, else the first line of standard input."""

    def add_to(node: Node) -> None:
        from tsdb.model.role_changes import CreateRole
        from tsdb.model.roles import Role
        from tsdb.sql.ddl.roles import verifier_of

        if name in node.catalog.roles.by_name:
            raise ConfigurationError(f'user "{name}" exists already: "tsdb user password {name}" sets its password')
        verifier = verifier_of(_password())
        node.change(CreateRole(Role(0, name, superuser=superuser, login=True, verifier=verifier)))

    _on(data, add_to, "CREATE USER … PASSWORD", create=True)
    typer.echo(f"user {name} added")


@user.command()
def password(name: Name, data: Data = None) -> None:
    """Set a user's password, asked for on a terminal, else the first line of standard input."""

    def change(node: Node) -> None:
        from tsdb.model.role_changes import AlterRole
        from tsdb.sql.ddl.roles import verifier_of

        node.catalog.roles.find(name)
        node.change(AlterRole(name, (("verifier", verifier_of(_password())),)))

    _on(data, change, "ALTER USER … PASSWORD")
    typer.echo(f"password of {name} set")


@user.command()
def remove(name: Name, data: Data = None) -> None:
    """Remove a user that owns nothing and was granted nothing."""

    def drop(node: Node) -> None:
        from tsdb.model.role_changes import DropRole

        node.change(DropRole(name))

    _on(data, drop, "DROP USER")
    typer.echo(f"user {name} removed")


@user.command(name="list")
def list_(data: Data = None) -> None:
    """List the users."""

    def lines(node: Node) -> list[str]:
        from tsdb.model.roles import PREDEFINED

        return [
            f"{role.name}\t{'superuser' if role.superuser else '-'}\t{'login' if role.login else 'no login'}\t"
            f"{'password' if role.verifier else 'no password'}"
            for role in node.catalog.roles
            if role.number not in PREDEFINED
        ]

    for line in _on(data, lines, "\\du"):
        typer.echo(line)


def _on(data: Path | None, work: Callable[[Node], T], sql: str, *, create: bool = False) -> T:
    """Do something with a data directory. Raises StartupError, ConfigurationError."""
    try:
        with _opened(data, sql, create=create) as node:
            return work(node)
    except TsdbError as error:
        text = " ".join(part for part in (error.message, error.detail, error.hint) if part)
        raise ConfigurationError(text) from None


@contextmanager
def _opened(data: Path | None, sql: str, *, create: bool) -> Iterator[Node]:
    from tsdb.cli.start import place_kernel_cache
    from tsdb.config import load

    path = load({} if data is None else {"data": data}).data
    place_kernel_cache(path)
    from tsdb.cluster.node import Node
    from tsdb.storage.rocks import is_locked, is_there

    if not create and not is_there(path):
        raise StartupError(f"there is no data directory at {path}")
    if is_locked(path):
        raise StartupError(f"a server has {path} open: tell it by SQL instead, with {sql}")
    path.mkdir(parents=True, exist_ok=True)
    node = Node.open(path)
    try:
        yield node
    finally:
        node.close()


def _password() -> str:
    """Asked twice on a terminal, read once from anything else."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise ConfigurationError("the passwords differ")
    return first
