"""Certificates for tests: an authority of our own and what it signs for localhost."""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Pair:
    """Files of a certificate, its key, and the authority that a client trusts."""

    certificate: Path
    key: Path
    authority: Path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: str, key: Key) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _private(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make(folder: Path, *, subject: str = "localhost", algorithm: Hash | None = None, ed: bool = False) -> Pair:
    """Write ``server.crt``, ``server.key`` and ``root.crt`` into a folder. Writing again is what a renewal does."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    root = (
        _builder("authority", "authority", authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName(subject), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    if ed:
        own: Key = ed25519.Ed25519PrivateKey.generate()
        leaf = _builder(subject, subject, own).add_extension(x509.SubjectAlternativeName(names), False).sign(own, None)
        root = leaf
    else:
        own = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            _builder(subject, "authority", own)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(authority_key, algorithm or hashes.SHA256())
        )
    pair = Pair(folder / "server.crt", folder / "server.key", folder / "root.crt")
    pair.authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    _write_private(pair.key, _private(own))
    pair.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    return pair


def _write_private(path: Path, octets: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(octets)
