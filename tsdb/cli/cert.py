"""``tsdb cert``: the files by which the nodes of a cluster know each other — an authority, and a pair for each node."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsdb.errors import ConfigurationError, StartupError, TsdbError

if TYPE_CHECKING:
    from cryptography import x509

    from tsdb.cluster.authority import Issued

cert = typer.Typer(
    help="Certificates by which the nodes of a cluster know each other: an authority, and a pair for each node.",
    no_args_is_help=True,
)

AUTHORITY = "ca"
SOON_DAYS = 30

Directory = Annotated[
    Path, typer.Option("--dir", help="Directory of the files; made if it is not there.", metavar="DIR")
]
Renew = Annotated[bool, typer.Option("--renew", help="Make a new one where there is one, with a new key.")]
CERTS = Path("certs")


@cert.command()
def ca(
    directory: Directory = CERTS,
    name: Annotated[str, typer.Option("--name", help="What the authority is called.", metavar="NAME")] = "tsdb cluster",
    days: Annotated[int, typer.Option(help="How long it is good.", min=1, max=36_500)] = 3650,
    renew: Renew = False,
) -> None:
    """Make the cluster's authority: ca.crt, which all nodes trust, and ca.key, which signs and belongs on no node.

    With --renew the new certificate comes first in ca.crt and the old ones stay behind it, so that nodes trust both
    while they get new certificates one after the other.
    """
    from tsdb.cluster.authority import make_authority

    certificate, key = directory / f"{AUTHORITY}.crt", directory / f"{AUTHORITY}.key"
    before = b""
    if key.exists() and not certificate.exists():
        raise ConfigurationError(
            f"{key} is there, and its certificate {certificate} is not: put that back (every node has it), or move the "
            "key away to make another authority"
        )
    if certificate.exists():
        if not renew:
            raise ConfigurationError(f"{certificate} exists already: give --renew to make a new one, and keep both")
        before = b"".join(_pem(old) for old in _read(certificate) if old.not_valid_after_utc > _now())
    made = make_authority(name, days, _now())
    write_pair(directory, AUTHORITY, made.certificate + before, made.key)
    typer.echo(f"{certificate}: good until {_end(made)}")


@cert.command()
def node(
    name: Annotated[str, typer.Argument(help="Name of the node in the cluster.", metavar="NAME")],
    address: Annotated[
        list[str] | None,
        typer.Option("--address", help="Host name or IP address that clients use for it; repeatable.", metavar="HOST"),
    ] = None,
    directory: Directory = CERTS,
    days: Annotated[int, typer.Option(help="How long it is good.", min=1, max=36_500)] = 365,
    renew: Renew = False,
) -> None:
    """Make a node's NAME.crt and NAME.key, signed by the authority in the same directory.

    With --renew the addresses are those of the old one unless others are given. A running node uses new files for new
    connections within seconds.
    """
    from tsdb.cluster.authority import Issued, addresses_of, issue

    if name == AUTHORITY:
        raise ConfigurationError(f"{AUTHORITY} is the authority's name: choose another one for the node")
    roots = directory / f"{AUTHORITY}.crt"
    if not roots.exists():
        raise ConfigurationError(f"there is no authority in {directory}: make one first, with tsdb cert ca")
    certificate = directory / f"{name}.crt"
    addresses = address or []
    if certificate.exists():
        if not renew:
            raise ConfigurationError(f"{certificate} exists already: give --renew to make a new one")
        addresses = addresses or addresses_of(_read(certificate)[0])
    root = _read(roots)[0]
    try:
        key = (directory / f"{AUTHORITY}.key").read_bytes()
        made = issue(Issued(_pem(root), key), name, addresses, days, _now())
    except TsdbError as error:
        raise ConfigurationError(" ".join(part for part in (error.message, error.hint) if part)) from None
    except (OSError, ValueError) as error:
        raise StartupError(f"cannot sign with {directory / f'{AUTHORITY}.key'}: {_why(error)}") from None
    write_pair(directory, name, made.certificate, made.key)
    typer.echo(f"{certificate}: good until {_end(made)}")


@cert.command(name="list")
def list_(directory: Directory = CERTS) -> None:
    """List the certificates in a directory: file, node, until when, addresses. Exit code 1 if one has expired."""
    from tsdb.cluster.authority import addresses_of, nodes_of

    now, bad = _now(), 0
    for path in sorted(directory.glob("*.crt")):
        for certificate in _read(path):
            left = (certificate.not_valid_after_utc - now).days
            state = "expired" if left < 0 else f"{left} days" + (" left" if left < SOON_DAYS else "")
            bad += left < 0
            who = ",".join(nodes_of(certificate)) or "authority"
            until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
            typer.echo("\t".join([path.name, who, until, state, ",".join(addresses_of(certificate)) or "-"]))
    if bad:
        raise typer.Exit(1)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _read(path: Path) -> list[x509.Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StartupError(f"cannot read the certificate {path}: {_why(error)}") from None


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def _end(made: Issued) -> str:
    from cryptography import x509

    return f"{x509.load_pem_x509_certificate(made.certificate).not_valid_after_utc:%Y-%m-%d}"


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def write_pair(directory: Path, name: str, certificate: bytes, key: bytes) -> None:
    """Both files, whole: the key first, so that a node never sees a new certificate without its key."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / f"{name}.key", key, 0o600)
        _replace(directory / f"{name}.crt", certificate, 0o644)
    except OSError as error:
        raise StartupError(f"cannot write to {directory}: {_why(error)}") from None


def _replace(path: Path, octets: bytes, mode: int) -> None:
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    # Made with its mode: nobody else can read the key, not even for a moment.
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
