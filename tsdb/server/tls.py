"""TLS: the certificate and key of all ports, checked, and read again when their files change.

New files are tried before they are used: a half-written pair leaves the old one in place, and what is connected stays
so.

Source: PostgreSQL 15 manual, 19.9 (secure TCP/IP connections with SSL); RFC 5929 (tls-server-end-point).
"""

from __future__ import annotations

import logging
import os
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tsdb.errors import StartupError
from tsdb.wire import Tls
from tsdb.wire.listener import ALPN

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
_WEAK = ("md5", "sha1")
# What a change of a file changes: not its content, but that is read only then.
_Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """The TLS of a server: ``sql`` for the SQL port and ``https`` for HTTP. Raises StartupError when built."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = self._read_stamp()
        self.https = _context()
        self.https.set_alpn_protocols(["http/1.1"])
        self.sql = self._load()

    @property
    def pem(self) -> tuple[bytes, bytes]:
        """(certificate with its chain, key) as they are in their files, for who makes TLS by itself."""
        return self._certificate.read_bytes(), self._key.read_bytes()

    def _load(self) -> Tls:
        """Read the files, for new SQL connections as a new context, for HTTPS into the one that it keeps."""
        _check_key_file(self._key)
        context = _context()
        context.set_alpn_protocols([ALPN])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
            digest = _end_point(self._certificate)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise StartupError(
                f"cannot use the certificate {self._certificate} with the key {self._key}: {_why(error)}"
            ) from None
        self.https.load_cert_chain(self._certificate, self._key, password=_no_password)
        return Tls(context, digest)

    def changed(self) -> bool:
        """Whether a file is another one than when it was last read."""
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        return True

    def reload(self, use: Callable[[Tls], None]) -> bool:
        """Read the files again; False leaves everything as it was, with a warning in the log."""
        try:
            self.sql = self._load()
        except StartupError as error:
            log.warning("the certificate is not exchanged: %s", error)
            return False
        use(self.sql)
        log.info("the certificate is read again", extra={"fields": {"certificate": str(self._certificate)}})
        return True

    def _read_stamp(self) -> _Stamp:
        return tuple(_stamp(path) for path in (self._certificate, self._key))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; a server cannot ask for its passphrase")


def _check_key_file(key: Path) -> None:
    """As PostgreSQL: nobody but its owner may read the key; root's may be read by a group."""
    try:
        found = os.stat(key)
    except OSError as error:
        raise StartupError(f"cannot read the key {key}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise StartupError(f"the key {key} is not a regular file")
    allowed = 0o740 if found.st_uid == 0 and os.geteuid() != 0 else 0o700
    if stat.S_IMODE(found.st_mode) & ~allowed:
        raise StartupError(f"others can read the private key {key}: chmod 600 {key}")


def _end_point(certificate: Path) -> bytes | None:
    """The hash of the certificate by its signature's hash function, SHA-256 for a weak one; None where it has none."""
    first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    found = first.signature_hash_algorithm
    if found is None:
        return None
    return first.fingerprint(hashes.SHA256() if found.name in _WEAK else found)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
