"""TLS between nodes: both sides show a certificate of the cluster's authority, and the names in it are read.

Host names are not looked at: who a node is, its name and the greeting say, whatever its address.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from tsdb.certificates import CertificateFiles, why
from tsdb.cluster.authority import nodes_in, nodes_of
from tsdb.errors import StartupError

log = logging.getLogger(__name__)

OPERATOR_PROTOCOL = "tsdb-operator/1"
"""What an operator's command or a node that wants to join asks for when it dials (ALPN), instead of greeting."""


@dataclass(frozen=True, slots=True, eq=False)
class Pem:
    """The files as they are used, for who cannot take a context."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes


class NodeTls:
    """The contexts for new connections: ``accepting`` and ``dialing``. Raises StartupError when built."""

    def __init__(self, certificate: Path, key: Path, authority: Path) -> None:
        self._files = CertificateFiles(certificate, key, authority)
        self._authority = authority
        self.name = ""
        """The node's name in its certificate."""
        self._load()

    def _load(self) -> None:
        accepting = self._context(ssl.PROTOCOL_TLS_SERVER)
        dialing = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self._files.load_into(accepting, dialing)
        try:
            (own, *_) = x509.load_pem_x509_certificates(self._files.certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise StartupError(f"cannot read the certificate {self._files.certificate}: {why(error)}") from None
        names = nodes_of(own)
        if len(names) != 1:
            raise StartupError(
                f"the certificate {self._files.certificate} is no node's: make one with tsdb cert node NAME"
            )
        if self.name not in ("", names[0]):
            raise StartupError(f"the certificate {self._files.certificate} is of {names[0]}, and this is {self.name}")
        try:
            self.pem = Pem(
                self._files.certificate.read_bytes(), self._files.key.read_bytes(), self._authority.read_bytes()
            )
        except OSError as error:
            raise StartupError(f"cannot read the node's certificate: {why(error)}") from None
        self.accepting, self.dialing = accepting, dialing
        self.name = names[0]
        self.expires_at = own.not_valid_after_utc

    def operating(self) -> ssl.SSLContext:
        """For one request of an operator, with this certificate. Raises StartupError."""
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols([OPERATOR_PROTOCOL])
        self._files.load_into(context)
        return context

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        if protocol == ssl.PROTOCOL_TLS_SERVER:
            context.set_alpn_protocols([OPERATOR_PROTOCOL])
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self._authority)
        except OSError as error:  # ssl.SSLError is one
            raise StartupError(f"cannot use the authority {self._authority}: {why(error)}") from None
        return context

    def reload_if_changed(self) -> bool:
        """Use new files for connections to come; what cannot be used is logged and not used. Whether it was done."""
        if not self._files.changed():
            return False
        try:
            self._load()
        except StartupError as error:
            log.warning("the node's certificate is not exchanged: %s", error)
            return False
        log.info("the node's certificate is read again", extra={"fields": {"node": self.name}})
        return True

    def seconds_left(self, now_s: float) -> float:
        """Until this node's certificate expires, by a clock in seconds since 1970; negative when it has."""
        return self.expires_at.timestamp() - now_s


def asked_for(writer: asyncio.StreamWriter) -> str | None:
    """The protocol that the dialer asked for beside that of nodes (ALPN), if it did."""
    tls = writer.get_extra_info("ssl_object")
    return None if tls is None else tls.selected_alpn_protocol()


def certified(peer_certificate: Mapping[str, Any]) -> list[str]:
    """The names of nodes in a verified certificate, as ``ssl`` gives it."""
    names = peer_certificate.get("subjectAltName", ())
    return nodes_in([value for kind, value in names if kind == "URI"])
