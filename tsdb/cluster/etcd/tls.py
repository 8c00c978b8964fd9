"""TLS to etcd: its members show a certificate of an authority that we trust and of the host that we asked for; we show
ours where they want one. Files that have changed are used for connections to come."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

from tsdb.certificates import CertificateFiles, why
from tsdb.errors import StartupError

log = logging.getLogger(__name__)


class EtcdTls:
    """Raises StartupError when built."""

    def __init__(self, authority: Path, certificate: Path | None = None, key: Path | None = None) -> None:
        self._authority = authority
        self._files = CertificateFiles(certificate, key, authority) if certificate and key else None
        self._lock = threading.Lock()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """For a new connection."""
        with self._lock:
            if self._files is not None and self._files.changed():
                try:
                    self._context = self._load()
                except StartupError as error:
                    log.warning("the certificate for etcd is not exchanged: %s", error)
            return self._context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(self._authority)
        except OSError as error:  # ssl.SSLError is one
            raise StartupError(f"cannot use the authority {self._authority}: {why(error)}") from None
        if self._files is not None:
            self._files.load_into(context)
        return context
