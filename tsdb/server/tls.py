"""TLS: the certificate and key of all ports, checked, and read again when their files change.

What is connected stays so.

Source: PostgreSQL 15 manual, 19.9 (secure TCP/IP connections with SSL); RFC 5929 (tls-server-end-point).
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tsdb.certificates import CertificateFiles, unusable
from tsdb.errors import StartupError
from tsdb.wire import Tls
from tsdb.wire.listener import ALPN

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
_WEAK = ("md5", "sha1")


class Certificates:
    """The TLS of a server: ``sql`` for the SQL port and ``https`` for HTTP. Raises StartupError when built."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = CertificateFiles(certificate, key)
        self.https = _context()
        self.https.set_alpn_protocols(["http/1.1"])
        self.sql = self._load()

    @property
    def pem(self) -> tuple[bytes, bytes]:
        """(certificate with its chain, key) as they are in their files, for who makes TLS by itself."""
        return self._files.certificate.read_bytes(), self._files.key.read_bytes()

    def _load(self) -> Tls:
        """Read the files, for new SQL connections as a new context, for HTTPS into the one that it keeps."""
        context = _context()
        context.set_alpn_protocols([ALPN])
        self._files.load_into(context)
        try:
            digest = _end_point(self._files.certificate)
        except (OSError, ValueError) as error:
            raise unusable(self._files.certificate, self._files.key, error) from None
        self._files.load_into(self.https)
        return Tls(context, digest)

    def changed(self) -> bool:
        """Whether a file is another one than when it was last read."""
        return self._files.changed()

    def reload(self, use: Callable[[Tls], None]) -> bool:
        """Read the files again; False leaves everything as it was, with a warning in the log."""
        try:
            self.sql = self._load()
        except StartupError as error:
            log.warning("the certificate is not exchanged: %s", error)
            return False
        use(self.sql)
        log.info("the certificate is read again", extra={"fields": {"certificate": str(self._files.certificate)}})
        return True


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _end_point(certificate: Path) -> bytes | None:
    """The hash of the certificate by its signature's hash function, SHA-256 for a weak one; None where it has none."""
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    found = first.signature_hash_algorithm
    if found is None:
        return None
    return first.fingerprint(hashes.SHA256() if found.name in _WEAK else found)
