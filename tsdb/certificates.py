"""Files of certificates and keys: checked before they are used, and looked at again, since they are renewed.

New files are tried before they are used: a half-written pair leaves the old one in place.

Source: PostgreSQL 15 manual, 19.9 (secure TCP/IP connections with SSL).
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from tsdb.errors import StartupError

# What a change of a file changes: not its content, but that is read only then.
_Stamp = tuple[int, int, int]


class CertificateFiles:
    """A certificate with its key, and files that belong to them, such as that of an authority."""

    def __init__(self, certificate: Path, key: Path, *others: Path) -> None:
        self.certificate = certificate
        self.key = key
        self._watched = (certificate, key, *others)
        self._stamps = self._read_stamps()

    def changed(self) -> bool:
        """Whether a file is another one than when this was asked last."""
        stamps = self._read_stamps()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        return True

    def load_into(self, *contexts: ssl.SSLContext) -> None:
        """Have contexts show this certificate from now on. Raises StartupError, and a later one is as it was then."""
        check_key_file(self.key)
        try:
            for context in contexts:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise unusable(self.certificate, self.key, error) from None

    def _read_stamps(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in self._watched)


def unusable(certificate: Path, key: Path, error: Exception) -> StartupError:
    return StartupError(f"cannot use the certificate {certificate} with the key {key}: {why(error)}")


def check_key_file(key: Path) -> None:
    """As PostgreSQL: nobody but its owner may read the key; root's may be read by a group. Raises StartupError."""
    check_secret_file(key, "key", "private key")


def check_secret_file(file: Path, kind: str, called: str = "") -> None:
    """The same of any file that holds a secret of that kind. Raises StartupError."""
    try:
        found = os.stat(file)
    except OSError as error:
        raise StartupError(f"cannot read the {kind} {file}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise StartupError(f"the {kind} {file} is not a regular file")
    allowed = 0o740 if found.st_uid == 0 and os.geteuid() != 0 else 0o700
    if stat.S_IMODE(found.st_mode) & ~allowed:
        raise StartupError(f"others can read the {called or kind} {file}: chmod 600 {file}")


def why(error: Exception) -> str:
    """What went wrong with TLS, in words."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _no_password() -> str:
    raise ValueError("the key is encrypted; a server cannot ask for its passphrase")
