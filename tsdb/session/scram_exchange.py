"""The server's side of one SCRAM-SHA-256 exchange, sans I/O: two messages in, two out.

    client-first   n,,n=,r=<nonce>              ``first``  →  r=<both nonces>,s=<salt>,i=<iterations>
    client-final   c=<binding>,r=…,p=<proof>    ``final``  →  v=<server's signature>, or None: the proof is wrong

With TLS the client may bind the exchange to the server's certificate (``SCRAM-SHA-256-PLUS``, tls-server-end-point):
then somebody in between with another certificate cannot pass it on. The name in the client's first message is ignored,
the one in its startup packet counts, as in PostgreSQL.

Source: RFC 5802, 7677, 5929; PostgreSQL 15 manual, 55.3; src/backend/libpq/auth-scram.c.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from tsdb.errors import FeatureNotSupported, InvalidAuthorizationSpecification, ProtocolViolation
from tsdb.model.scram import Verifier

PLAIN = "SCRAM-SHA-256"
BOUND = "SCRAM-SHA-256-PLUS"

_BINDING_TYPE = "tls-server-end-point"
_FIRST = re.compile(r"(?:(n|y)|p=([A-Za-z0-9.-]+)),(a=[^,]*)?,((m=[^,]*,)?n=[^,]*,r=([!-+\--~]+)(?:,.*)?)", re.DOTALL)
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)(?:,[^,]*)*?),p=([A-Za-z0-9+/=]+)", re.DOTALL)


class ScramExchange:
    """``nonce`` is the server's part, random and printable; ``certificate`` the hash of the certificate that TLS
    uses."""

    def __init__(self, verifier: Verifier, nonce: str, certificate: bytes | None) -> None:
        self._verifier = verifier
        self._nonce = nonce
        self._certificate = certificate
        self._binding = b""
        self._messages = ""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What the client may choose from, the best first."""
        return (PLAIN,) if self._certificate is None else (BOUND, PLAIN)

    def first(self, mechanism: str, data: bytes) -> bytes:
        """Raises ProtocolViolation, InvalidAuthorizationSpecification, FeatureNotSupported."""
        if mechanism not in self.mechanisms:
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        found = _FIRST.fullmatch(_text(data))
        if found is None:
            raise _malformed("The first message is not one of SCRAM.")
        flag, binding_type, authorization, bare, extension, client_nonce = found.groups()
        if authorization:
            raise FeatureNotSupported("client uses authorization identity, but it is not supported")
        if extension:
            raise FeatureNotSupported("client requires an unsupported SCRAM extension")
        self._choose_binding(mechanism, flag, binding_type)
        self._nonce = client_nonce + self._nonce
        salt = base64.b64encode(self._verifier.salt).decode()
        reply = f"r={self._nonce},s={salt},i={self._verifier.iterations}"
        self._messages = f"{bare},{reply}"
        return reply.encode()

    def _choose_binding(self, mechanism: str, flag: str | None, binding_type: str | None) -> None:
        if flag == "y" and self._certificate is not None:
            raise InvalidAuthorizationSpecification(
                "SCRAM channel binding negotiation error",
                detail="The client supports SCRAM channel binding but thinks the server does not. "
                "However, this server does support channel binding.",
            )
        if (flag is None) != (mechanism == BOUND):
            raise _malformed(f"The channel binding flag does not fit {mechanism}.")
        if flag is not None:
            self._binding = f"{flag},,".encode()
            return
        if binding_type != _BINDING_TYPE:
            raise ProtocolViolation(f'unsupported SCRAM channel-binding type "{binding_type}"')
        assert self._certificate is not None
        self._binding = f"p={_BINDING_TYPE},,".encode() + self._certificate

    def final(self, data: bytes) -> bytes | None:
        """Raises ProtocolViolation, InvalidAuthorizationSpecification."""
        found = _FINAL.fullmatch(_text(data))
        if found is None:
            raise _malformed("The final message is not one of SCRAM.")
        without_proof, binding, nonce, proof = found.groups()
        if not hmac.compare_digest(_decoded(binding), self._binding):
            raise InvalidAuthorizationSpecification("SCRAM channel binding check failed")
        if not hmac.compare_digest(nonce, self._nonce):
            raise ProtocolViolation("invalid SCRAM response", detail="Nonce does not match.")
        message = f"{self._messages},{without_proof}".encode()
        signature = hmac.digest(self._verifier.stored_key, message, "sha256")
        given = _decoded(proof)
        if len(given) != len(signature):
            raise _malformed("The proof has a wrong length.")
        if not self._verifier.proves(bytes(a ^ b for a, b in zip(given, signature, strict=True))):
            return None
        return b"v=" + base64.b64encode(hmac.digest(self._verifier.server_key, message, "sha256"))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _malformed("It is not UTF-8.") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _malformed("A value is not base64.") from None


def _malformed(why: str) -> ProtocolViolation:
    return ProtocolViolation("malformed SCRAM message", detail=why)
