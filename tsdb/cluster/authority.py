"""The cluster's own authority: certificates by which nodes know each other. No I/O; ``tsdb cert`` keeps the files.

A node's certificate says its name (as a URI, ``tsdb:node:NAME``), and is good for both ends of a connection. Addresses
in it are for clients: nodes look at the name alone, so a node may move without a new certificate. Keys are on the curve
P-256. An authority is renewed with a new key; as long as both are trusted, certificates of either are.

Source: RFC 5280 (certificates), 4.2.1 (extensions).
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tsdb.errors import InvalidName, InvalidParameterValue

URI_PREFIX = "tsdb:node:"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Clocks differ; a certificate that was made just now must be good there, too.
_EARLIER = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(name: str, days: int, now: datetime.datetime) -> Issued:
    """A new authority, signed by itself, that signs certificates of nodes and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"{name} (authority)")
    certificate = (
        _builder(subject, subject, key, days, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _issued(certificate, key)


def issue(authority: Issued, name: str, addresses: Sequence[str], days: int, now: datetime.datetime) -> Issued:
    """A certificate for the node ``name``, with host names and IP addresses for clients.

    Raises InvalidName, InvalidParameterValue.
    """
    if not NAME.fullmatch(name):
        raise InvalidName(f'"{name}" is no name of a node: 1 to 63 letters, digits, dots, hyphens and underscores')
    root = x509.load_pem_x509_certificate(authority.certificate)
    root_key = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(root_key, ec.EllipticCurvePrivateKey) or root_key.public_key() != root.public_key():
        raise InvalidParameterValue("the authority's key is not that of its certificate")
    end = now + datetime.timedelta(days=days)
    if end > root.not_valid_after_utc:
        raise InvalidParameterValue(
            f"the certificate would be good until {end:%Y-%m-%d}, and its authority is until "
            f"{root.not_valid_after_utc:%Y-%m-%d}",
            hint="Give fewer --days, or renew the authority: tsdb cert ca --renew",
        )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.UniformResourceIdentifier(URI_PREFIX + name), *(_general_name(address) for address in addresses)]
    certificate = (
        _builder(_subject(name), root.subject, key, days, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return _issued(certificate, key)


def addresses_of(certificate: x509.Certificate) -> list[str]:
    """Host names and IP addresses in a certificate."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def nodes_of(certificate: x509.Certificate) -> list[str]:
    """The names of nodes in a certificate: one, or none in one that is no node's."""
    names = _alternative_names(certificate)
    return nodes_in(names.get_values_for_type(x509.UniformResourceIdentifier)) if names is not None else []


def nodes_in(uris: Sequence[str]) -> list[str]:
    """The names of nodes among the URIs of a certificate."""
    return [uri.removeprefix(URI_PREFIX) for uri in uris if uri.startswith(URI_PREFIX)]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        pass
    if not address or len(address) > 253 or not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", address):
        raise InvalidParameterValue(f'"{address}" is neither an IP address nor a host name (no port belongs to it)')
    return x509.DNSName(address)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tsdb"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), private)
