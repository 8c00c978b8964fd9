"""SCRAM-SHA-256 verifiers: what is kept instead of a password, and how a password is checked against it.

    SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>          (base64)

Nothing here draws salts: they are handed in. The exchange with a client is in ``tsdb.session.scram_exchange``.

Source: RFC 5802, 5803, 7677; RFC 4013 (SASLprep); PostgreSQL 15 manual, 53.8 (pg_authid.rolpassword);
src/common/saslprep.c, src/backend/libpq/auth-scram.c.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from dataclasses import dataclass

ITERATIONS = 4096
SALT_BYTES = 16
# A verifier that a client made says how much work each login is.
_ITERATIONS_MAX = 10_000_000
_KEY_BYTES = 32
_TEXT = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,8}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")

_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9, stringprep.in_table_a1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verifier:
    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @property
    def text(self) -> str:
        salt, stored, server = (base64.b64encode(x).decode() for x in (self.salt, self.stored_key, self.server_key))
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"

    def proves(self, client_key: bytes) -> bool:
        """Whether a client that showed this key knows the password."""
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), self.stored_key)

    def accepts(self, password: str) -> bool:
        """Whether a password in clear text is the one. Takes milliseconds: ``iterations`` hashes."""
        salted = _salted(password, self.salt, self.iterations)
        return self.proves(hmac.digest(salted, b"Client Key", "sha256"))


def make(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """The verifier of a password in clear text."""
    salted = _salted(password, salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return Verifier(iterations, salt, stored, hmac.digest(salted, b"Server Key", "sha256"))


def parse(text: str) -> Verifier | None:
    """The verifier in its text form; None for any other text."""
    found = _TEXT.fullmatch(text)
    if found is None or int(found[1]) > _ITERATIONS_MAX:
        return None
    try:
        salt, stored, server = (base64.b64decode(found[i], validate=True) for i in (2, 3, 4))
    except binascii.Error:
        return None
    if not salt or len(stored) != _KEY_BYTES or len(server) != _KEY_BYTES:
        return None
    return Verifier(int(found[1]), salt, stored, server)


def mock(name: str, secret: bytes) -> Verifier:
    """A verifier that no password fits, with the same salt for the same name each time (scram_mock_salt): a client
    cannot tell a name that no role has from a wrong password."""
    salt = hmac.digest(secret, b"salt:" + name.encode(), "sha256")[:SALT_BYTES]
    key = hmac.digest(secret, b"key:" + name.encode(), "sha256")
    return Verifier(ITERATIONS, salt, key, key)


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", saslprep(password).encode("utf-8", "surrogateescape"), salt, iterations)


def saslprep(text: str) -> str:
    """RFC 4013; a text that it prohibits stays as it is, as in PostgreSQL."""
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )  # fmt: skip
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or any(test(c) for c in prepared for test in _PROHIBITED):
        return text
    right_to_left = [stringprep.in_table_d1(c) for c in prepared]
    if any(right_to_left) and (
        any(map(stringprep.in_table_d2, prepared)) or not (right_to_left[0] and right_to_left[-1])
    ):
        return text
    return prepared
