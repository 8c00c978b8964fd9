"""SCRAM verifiers and the exchange: what fits a password and nothing else, beside other implementations."""

from __future__ import annotations

import hashlib
import hmac
import os
import re

import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st

from tsdb.errors import TsdbError
from tsdb.model import scram
from tsdb.session.scram_exchange import BOUND, PLAIN, ScramExchange

SALT = bytes(range(16))
CERTIFICATE = hashlib.sha256(b"certificate").digest()
passwords = st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text)


def test_a_verifier_is_made_by_the_formulas_of_rfc_5802() -> None:
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", SALT, 4096)
    client = hmac.digest(salted, b"Client Key", "sha256")
    made = scram.make("pencil", SALT)
    assert made.stored_key == hashlib.sha256(client).digest()
    assert made.server_key == hmac.digest(salted, b"Server Key", "sha256")
    assert made.text.startswith("SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$")


@given(passwords, st.binary(min_size=1, max_size=32), st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_a_verifier_comes_back_from_its_text_and_fits_its_password_alone(
    password: str, salt: bytes, iterations: int
) -> None:
    made = scram.make(password, salt, iterations)
    found = scram.parse(made.text)
    assert found == made
    assert found.accepts(password)
    assert not found.accepts(password + "x")


@pytest.mark.parametrize("password", ["pencil", "pässword", "Ⅸ", "a\u00a0b", "\u00adsoft", "\u0627\u0628", "é\u0301"])
def test_passwords_are_prepared_as_another_implementation_does(password: str) -> None:
    salt, stored, server, iterations = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(password)
    assert scram.Verifier(iterations, salt, stored, server).accepts(password)


@pytest.mark.parametrize(
    "text",
    ["", "pencil", "md5" + "0" * 32, "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:AA==$AA==:AA==", "SCRAM-SHA-256$0:a$b:c",
     "SCRAM-SHA-256$99999999999:AAECAwQFBgcICQoLDA0ODw==$" + "A" * 43 + "=:" + "A" * 43 + "="],
)  # fmt: skip
def test_other_texts_are_no_verifiers(text: str) -> None:
    assert scram.parse(text) is None


def client(password: str, *, bound: bool, channel: bytes | None) -> scramp.ScramClient:
    binding = None if channel is None else ("tls-server-end-point", channel)
    mechanisms = [BOUND] if bound else [PLAIN]
    return scramp.ScramClient(mechanisms, "ignored", password, channel_binding=binding)


def exchanged(
    password: str, *, given: str, bound: bool = False, theirs: bytes | None = None, ours: bytes | None = None
) -> bytes | None:
    server = ScramExchange(scram.make(password, SALT, 4096), "servernonce", ours)
    speaker = client(given, bound=bound, channel=theirs)
    speaker.set_server_first(server.first(BOUND if bound else PLAIN, speaker.get_client_first().encode()).decode())
    final = server.final(speaker.get_client_final().encode())
    if final is not None:
        speaker.set_server_final(final.decode())
    return final


@pytest.mark.parametrize("ours", [None, CERTIFICATE])
def test_the_right_password_is_proved_to_both_sides(ours: bytes | None) -> None:
    assert exchanged("pencil", given="pencil") is not None
    assert exchanged("pencil", given="pencil", bound=True, theirs=CERTIFICATE, ours=CERTIFICATE) is not None
    assert exchanged("pencil", given="pen") is None
    assert exchanged("pencil", given="pen", bound=True, theirs=CERTIFICATE, ours=CERTIFICATE) is None


def test_another_certificate_in_between_is_found() -> None:
    with pytest.raises(TsdbError, match="channel binding check failed") as caught:
        exchanged("pencil", given="pencil", bound=True, theirs=hashlib.sha256(b"mallory").digest(), ours=CERTIFICATE)
    assert caught.value.sqlstate == "28000"


def test_a_client_that_was_told_of_no_channel_binding_is_warned() -> None:
    """Somebody in between took SCRAM-SHA-256-PLUS out of the list: the client says y, the server knows better."""
    with pytest.raises(TsdbError, match="negotiation error"):
        exchanged("pencil", given="pencil", theirs=CERTIFICATE, ours=CERTIFICATE)


def test_only_what_was_offered_can_be_chosen() -> None:
    exchange = ScramExchange(scram.make("x", SALT, 1), "nonce", None)
    assert exchange.mechanisms == (PLAIN,)
    for mechanism in (BOUND, "PLAIN", ""):
        with pytest.raises(TsdbError, match="invalid SASL"):
            exchange.first(mechanism, b"n,,n=,r=abc")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "malformed"), (b"n,,n=", "malformed"), (b"n,,n=,r=", "malformed"), (b"n,,n=,r=a b", "malformed"),
        (b"x,,n=,r=abc", "malformed"), (b"n,,r=abc,n=", "malformed"), (b"\xff,,n=,r=abc", "malformed"),
        (b"p=tls-unique,,n=,r=abc", "malformed"), (b"n,a=root,n=,r=abc", "authorization identity"),
        (b"n,,m=x,n=,r=abc", "extension"),
    ],
)  # fmt: skip
def test_a_first_message_that_is_none_is_refused(message: bytes, why: str) -> None:
    with pytest.raises(TsdbError, match=why):
        ScramExchange(scram.make("x", SALT, 1), "nonce", None).first(PLAIN, message)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_final_message_is_refused_with_an_error_of_ours_or_as_wrong(message: bytes) -> None:
    exchange = ScramExchange(scram.make("x", SALT, 1), "nonce", None)
    exchange.first(PLAIN, b"n,,n=,r=abc")
    try:
        assert exchange.final(message) is None
    except TsdbError as error:
        assert error.sqlstate in ("08P01", "28000")


@given(st.from_regex(re.compile(r"c=biws,r=abcnonce,p=[A-Za-z0-9+/]{43}="), fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_a_proof_by_chance_is_wrong(message: str) -> None:
    exchange = ScramExchange(scram.make("x", SALT, 1), "nonce", None)
    exchange.first(PLAIN, b"n,,n=,r=abc")
    assert exchange.final(message.encode()) is None


def test_the_mock_of_a_name_is_the_same_each_time_and_of_each_secret_another() -> None:
    secret = os.urandom(32)
    assert scram.mock("nobody", secret) == scram.mock("nobody", secret)
    salts = {scram.mock("nobody", secret).salt, scram.mock("anybody", secret).salt, scram.mock("nobody", b"x").salt}
    assert len(salts) == 3
    assert not scram.mock("nobody", secret).accepts("")
    assert len(scram.mock("nobody", secret).salt) == scram.SALT_BYTES
