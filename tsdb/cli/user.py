"""``tsdb user``: users of a data directory that no server has open, or of a cluster with its metadata in etcd.

A running server is told by SQL.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from tsdb.cli import over_etcd
from tsdb.errors import ConfigurationError, StartupError, TsdbError

if TYPE_CHECKING:
    from tsdb.config import Settings
    from tsdb.model.catalog import Catalog
    from tsdb.model.changes import SchemaChange

user = typer.Typer(
    help="Users of a data directory that no server has open, or of a cluster with its metadata in etcd (--metadata). "
    "A running server is told by SQL (CREATE USER …).",
    no_args_is_help=True,
)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Directory of the data. Also TSDB_DATA.", metavar="DIR", show_default=False),
]
Metadata = Annotated[
    str | None,
    typer.Option(
        "--metadata", help="Where the metadata is, if not in the directory. Also TSDB_METADATA, and what goes with it.",
        metavar="etcd://…", show_default=False,
    ),
]  # fmt: skip
Name = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")]
T = TypeVar("T")


class Users(Protocol):
    """Who has the users: a data directory, or a cluster."""

    @property
    def catalog(self) -> Catalog: ...

    def change(self, *changes: SchemaChange) -> Catalog: ...


@user.command()
def add(
    name: Name,
    superuser: Annotated[bool, typer.Option("--superuser", help="May do everything.")] = False,
    data: Data = None,
    metadata: Metadata = None,
) -> None:
    """Add a user with a password, asked for on a terminal, else the first line of standard input."""

    def add_to(users: Users) -> None:
        from tsdb.model.role_changes import CreateRole
        from tsdb.model.roles import Role
        from tsdb.sql.ddl.roles import verifier_of

        if name in users.catalog.roles.by_name:
            raise ConfigurationError(f'user "{name}" exists already: "tsdb user password {name}" sets its password')
        verifier = verifier_of(_password())
        users.change(CreateRole(Role(0, name, superuser=superuser, login=True, verifier=verifier)))

    _on(data, metadata, add_to, "CREATE USER … PASSWORD", create=True)
    typer.echo(f"user {name} added")


@user.command()
def password(name: Name, data: Data = None, metadata: Metadata = None) -> None:
    """Set a user's password, asked for on a terminal, else the first line of standard input."""

    def change(users: Users) -> None:
        from tsdb.model.role_changes import AlterRole
        from tsdb.sql.ddl.roles import verifier_of

        users.catalog.roles.find(name)
        users.change(AlterRole(name, (("verifier", verifier_of(_password())),)))

    _on(data, metadata, change, "ALTER USER … PASSWORD")
    typer.echo(f"password of {name} set")


@user.command()
def remove(name: Name, data: Data = None, metadata: Metadata = None) -> None:
    """Remove a user that owns nothing and was granted nothing."""

    def drop(users: Users) -> None:
        from tsdb.model.role_changes import DropRole

        users.change(DropRole(name))

    _on(data, metadata, drop, "DROP USER")
    typer.echo(f"user {name} removed")


@user.command(name="list")
def list_(data: Data = None, metadata: Metadata = None) -> None:
    """List the users."""

    def lines(users: Users) -> list[str]:
        from tsdb.model.roles import PREDEFINED

        return [
            f"{role.name}\t{'superuser' if role.superuser else '-'}\t{'login' if role.login else 'no login'}\t"
            f"{'password' if role.verifier else 'no password'}"
            for role in users.catalog.roles
            if role.number not in PREDEFINED
        ]

    for line in _on(data, metadata, lines, "\\du"):
        typer.echo(line)


def _on(data: Path | None, metadata: str | None, work: Callable[[Users], T], sql: str, *, create: bool = False) -> T:
    """Do something with the users there are. Raises StartupError, ConfigurationError."""
    from tsdb.config import load

    given = {"data": data, "metadata": metadata}
    settings = load({name: value for name, value in given.items() if value is not None})
    opened = over_etcd.operator(settings) if over_etcd.is_meant(settings) else _opened(settings, sql, create=create)
    try:
        with opened as users:
            return work(users)
    except TsdbError as error:
        raise ConfigurationError(" ".join(part for part in (error.message, error.detail, error.hint) if part)) from None


@contextmanager
def _opened(settings: Settings, sql: str, *, create: bool) -> Iterator[Users]:
    from tsdb.cli.start import place_kernel_cache

    path = settings.data
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
