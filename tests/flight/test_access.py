"""Who may do what over Flight: passwords, handshakes, tokens, privileges, TLS; the same roles as everywhere."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pyarrow.flight as flight
import pytest

from tests.auth import certificates
from tests.auth.conftest import ADMIN_PASSWORD, Running, running
from tests.flight.conftest import port_of
from tsdb import errors
from tsdb.client import connect
from tsdb.clock import ManualClock
from tsdb.flight.bearer import Bearers
from tsdb.model.access import Identity
from tsdb.model.roles import FIRST

POINT = pa.table({"time": [1], "host": ["a"], "v": [1.0]})


@pytest.fixture(scope="module")
def filled(guarded_flying: Running) -> Running:
    guarded_flying.run(
        "CREATE USER reader PASSWORD 'r'", "CREATE USER writer PASSWORD 'w'", "CREATE USER late PASSWORD 'l'",
        "CREATE TABLE cpu (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))",
        "CREATE TABLE secret (time timestamptz, v float8, PRIMARY KEY (time))",
        "GRANT SELECT ON cpu TO reader", "GRANT INSERT ON cpu TO writer",
        "ALTER USER late VALID UNTIL '2001-01-01'", "CREATE USER nologin NOLOGIN PASSWORD 'n'",
    )  # fmt: skip
    return guarded_flying


@pytest.mark.parametrize(
    ("user", "password"),
    [("tsdb", "wrong"), ("tsdb", None), ("nobody", "x"), (None, None), ("late", "l")],
)
def test_who_does_not_show_a_right_password_is_told_nothing(
    filled: Running, user: str | None, password: str | None
) -> None:
    with connect(port=port_of(filled), user=user, password=password) as db:
        with pytest.raises(errors.InvalidPassword):
            db.query("SELECT 1")
        with pytest.raises(errors.InvalidPassword):
            db.write(POINT, "cpu")
        with pytest.raises(errors.InvalidPassword):
            db.version()


def test_a_right_password_gives_the_roles_privileges(filled: Running) -> None:
    port = port_of(filled)
    with connect(port=port, user="tsdb", password=ADMIN_PASSWORD) as db:
        assert db.query("SELECT current_user AS u").to_pylist() == [{"u": "tsdb"}]
    with connect(port=port, user="writer", password="w") as db:
        assert db.write(POINT, "cpu") == 1
        with pytest.raises(errors.InsufficientPrivilege):
            db.query("SELECT * FROM cpu")
        with pytest.raises(errors.InsufficientPrivilege):
            db.write(POINT, "secret")
        with pytest.raises(errors.InsufficientPrivilege):
            db.write(POINT, "new", database="other")
    with connect(port=port, user="reader", password="r") as db:
        assert db.query("SELECT v FROM cpu").num_rows == 1
        with pytest.raises(errors.InsufficientPrivilege):
            db.write(POINT, "cpu")
        with pytest.raises(errors.InsufficientPrivilege):
            db.query("SELECT * FROM secret")
    with connect(port=port, user="nologin", password="n") as db, pytest.raises(errors.InsufficientPrivilege):
        db.query("SELECT 1")


def test_an_api_token_is_a_bearer_until_it_expires_or_is_dropped(filled: Running) -> None:
    with filled.connect() as sql:
        token = sql.execute("CREATE TOKEN mine FOR reader").fetchall()[0][0]
        old = sql.execute("CREATE TOKEN old FOR reader VALID UNTIL '2001-01-01'").fetchall()[0][0]
        with connect(port=port_of(filled), token=token) as db:
            assert db.query("SELECT current_user AS u").to_pylist() == [{"u": "reader"}]
            sql.execute("DROP TOKEN mine")
            with pytest.raises(errors.InvalidPassword):
                db.query("SELECT 1")
        with connect(port=port_of(filled), token=old) as db, pytest.raises(errors.InvalidPassword):
            db.query("SELECT 1")


def test_a_handshake_gives_a_token_that_ends_with_the_password(filled: Running) -> None:
    filled.run("CREATE USER shaker PASSWORD 's'")
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(filled)}")
    with pytest.raises(flight.FlightUnauthenticatedError):
        client.authenticate_basic_token("shaker", "wrong")
    name, value = client.authenticate_basic_token("shaker", "s")
    options = flight.FlightCallOptions(headers=[(name, value)])
    ticket = flight.Ticket(b"SELECT current_user AS u")
    assert client.do_get(ticket, options).read_all().to_pylist() == [{"u": "shaker"}]
    filled.run("ALTER USER shaker PASSWORD 't'")
    with pytest.raises(flight.FlightUnauthenticatedError):
        client.do_get(ticket, options)
    with pytest.raises(flight.FlightUnauthenticatedError):
        client.do_get(ticket, flight.FlightCallOptions(headers=[(b"authorization", b"Bearer flight-made-up")]))
    client.close()


def test_a_token_of_a_handshake_holds_for_an_hour(flying: Running) -> None:
    clock = ManualClock(10**18)
    bearers = Bearers(flying.server.node, clock)
    text = bearers.give(Identity(FIRST, "tsdb"))
    clock.time_ns += 3_599 * 10**9
    assert bearers.identity(text) == Identity(FIRST, "tsdb")
    assert bearers.identity(text + "x") is None
    clock.time_ns += 10**9
    with pytest.raises(errors.InvalidPassword, match="expired"):
        bearers.identity(text)


def test_flights_are_those_that_a_role_may_read(filled: Running) -> None:
    def names(user: str, password: str) -> set[tuple[str, ...]]:
        client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(filled)}")
        header = client.authenticate_basic_token(user, password)
        found = list(client.list_flights(options=flight.FlightCallOptions(headers=[header])))
        client.close()
        return {tuple(part.decode() for part in each.descriptor.path) for each in found}

    assert ("tsdb", "cpu") in names("reader", "r")
    assert ("tsdb", "secret") not in names("reader", "r")
    assert {("tsdb", "cpu"), ("tsdb", "secret")} <= names("tsdb", ADMIN_PASSWORD)


def test_tls_is_the_servers_and_a_new_certificate_is_taken(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    with running(tmp_path / "data", None, flight_port=0, tls_cert=pair.certificate, tls_key=pair.key) as server:
        port = port_of(server)
        with connect("localhost", port, root_certificates=pair.authority) as db:
            assert db.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]
        with connect("localhost", port) as clear, pytest.raises(errors.CannotConnectNow):
            clear.query("SELECT 1")
        certificates.make(tmp_path)
        server.run("SELECT pg_reload_conf()")
        until = time.monotonic() + 20
        while True:
            with connect("localhost", port, root_certificates=pair.authority) as db:
                try:
                    assert db.query("SELECT 2 AS two").to_pylist() == [{"two": 2}]
                    break
                except errors.CannotConnectNow:
                    assert time.monotonic() < until
                    time.sleep(0.1)


def test_a_user_and_a_token_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="not both"):
        connect(user="a", token="b")


def test_a_handshake_gives_nothing_for_a_token_which_may_be_revoked(filled: Running) -> None:
    filled.run("CREATE USER keeper PASSWORD 'k'")
    with filled.connect() as connection:
        found = connection.execute("CREATE TOKEN for_a_while FOR keeper").fetchone()
    assert found is not None
    seen: list[object] = []

    class Answer(flight.ClientMiddleware):  # type: ignore[misc]
        def received_headers(self, headers: dict[str, list[object]]) -> None:
            seen.extend(headers.get("authorization", []))

    class Answers(flight.ClientMiddlewareFactory):  # type: ignore[misc]
        def start_call(self, info: object) -> Answer:
            return Answer()

    class Nothing(flight.ClientAuthHandler):  # type: ignore[misc]
        def authenticate(self, outgoing: object, incoming: object) -> None:
            pass

        def get_token(self) -> bytes:
            return b""

    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(filled)}", middleware=[Answers()])
    header = b"authorization", f"Bearer {found[0]}".encode()
    client.authenticate(Nothing(), flight.FlightCallOptions(headers=[header]))
    assert seen == []
    client.close()


def test_a_token_of_a_handshake_ends_when_the_password_expires(filled: Running) -> None:
    filled.run("CREATE USER brief PASSWORD 'b'")
    client = flight.FlightClient(f"grpc://127.0.0.1:{port_of(filled)}")
    options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("brief", "b")])
    ticket = flight.Ticket(b"SELECT 1 AS one")
    assert client.do_get(ticket, options).read_all().num_rows == 1
    filled.run("ALTER USER brief VALID UNTIL '2001-01-01'")
    with pytest.raises(flight.FlightUnauthenticatedError):
        client.do_get(ticket, options)
    client.close()


def test_the_name_of_a_series_reaches_into_no_other_schema(filled: Running) -> None:
    """The separator of a path in it would pass the privileges of a schema by."""
    filled.run(
        "CREATE SCHEMA closed",
        "CREATE TABLE closed.cpu (time timestamptz, host text TAG, v float8, PRIMARY KEY (host, time))",
        "GRANT INSERT ON closed.cpu TO writer",
    )  # fmt: skip
    with connect(port=port_of(filled), user="writer", password="w") as db:
        with pytest.raises(errors.InsufficientPrivilege):
            db.query("INSERT INTO closed.cpu VALUES (now(), 'a', 1)")
        with pytest.raises(errors.InvalidName, match="control character"):
            db.write(POINT, "closed\x1fcpu")
    with filled.connect() as connection:
        assert connection.execute("SELECT count(*) FROM closed.cpu").fetchone() == (0,)


def test_a_roles_settings_hold_here_too(filled: Running) -> None:
    filled.run(
        "CREATE USER bound PASSWORD 'b'",
        "ALTER USER bound SET timezone = 'Asia/Tokyo'", "ALTER USER bound SET default_transaction_read_only = on",
        "GRANT INSERT ON cpu TO bound",
    )  # fmt: skip
    with connect(port=port_of(filled), user="bound", password="b") as db:
        assert db.query("SELECT current_setting('timezone') AS z").to_pylist() == [{"z": "Asia/Tokyo"}]
        with pytest.raises(errors.ReadOnlySqlTransaction):
            db.query("INSERT INTO cpu VALUES (now(), 'a', 1)")
