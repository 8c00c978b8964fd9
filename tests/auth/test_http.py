"""HTTP with the roles of SQL: passwords and tokens in every form that clients send, refusals in each API's words."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import time
from typing import Any

import psycopg
import pytest

from tests.auth.conftest import ADMIN_PASSWORD, Denied, Running
from tests.fixtures.server import COLD_S
from tests.server.test_direct_body import answer, connect
from tests.server.test_repeated import request

LINE = "cpu,host=a usage=1 1000000000"


def ask(
    server: Running, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """(status, JSON, headers in lower case)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server.http_port, timeout=COLD_S)
    try:
        connection.request(method, path, body.encode(), headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        given = {name.lower(): value for name, value in response.getheaders()}
        return response.status, json.loads(text) if text.startswith("{") else {}, given
    finally:
        connection.close()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture(scope="module")
def telegraf(guarded: Running) -> str:
    """A user that may create series in the database metrics; its token."""
    guarded.run("CREATE DATABASE metrics", "CREATE USER telegraf PASSWORD 'te:le graf'",
                "GRANT CREATE ON DATABASE metrics TO telegraf")  # fmt: skip
    with guarded.connect() as connection:
        row = connection.execute("CREATE TOKEN telegraf_writes FOR telegraf").fetchone()
        assert row is not None
        return str(row[0])


def test_every_way_to_say_who_one_is(guarded: Running, telegraf: str) -> None:
    ways: list[tuple[str, dict[str, str]]] = [
        ("/write?db=metrics", basic("telegraf", "te:le graf")),
        ("/write?db=metrics&u=telegraf&p=te:le%20graf", {}),
        ("/write?db=metrics", {"Authorization": "Token telegraf:te:le graf"}),
        ("/write?db=metrics", {"Authorization": f"Token {telegraf}"}),
        ("/api/v2/write?bucket=metrics", {"Authorization": f"Token {telegraf}"}),
        ("/api/v2/write?bucket=metrics", {"Authorization": f"Bearer {telegraf}"}),
        ("/api/v3/write_lp?db=metrics", {"Authorization": f"Bearer {telegraf}"}),
        ("/api/v3/write_lp?db=metrics", {"authorization": f"bearer  {telegraf}"}),
    ]
    for i, (path, headers) in enumerate(ways):
        status, answer, _ = ask(guarded, "POST", path, f"ways,way={i} v=1 1", headers)
        assert (status, answer) == (204, {}), (path, headers)
    with guarded.connect(dbname="metrics") as connection:
        assert connection.execute("SELECT count(*) FROM ways").fetchone() == (len(ways),)
    series = guarded.server.node.catalog.find("metrics").find("ways")
    assert guarded.server.node.catalog.roles.name_of(series.owner) == "telegraf"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/write?db=metrics", {"error": "unable to parse authentication credentials"}),
        ("/api/v2/write?bucket=metrics", {"code": "unauthorized", "message": "unauthorized access"}),
        ("/api/v3/write_lp?db=metrics", {"error": "the request was not authenticated"}),
        ("/query?q=SHOW%20DATABASES", {"error": "unable to parse authentication credentials"}),
        ("/metrics", {"error": "unable to parse authentication credentials"}),
    ],
)
def test_nobody_is_401_in_the_words_of_the_api(guarded: Running, path: str, body: dict[str, str]) -> None:
    method = "GET" if path.startswith(("/query", "/metrics")) else "POST"
    status, answer, headers = ask(guarded, method, path, LINE if method == "POST" else "")
    assert (status, answer) == (401, body)
    assert ("www-authenticate" in headers) == ("api" not in path)


def test_a_probe_needs_no_password(guarded: Running) -> None:
    assert ask(guarded, "GET", "/ping")[0] == 204
    assert ask(guarded, "GET", "/health")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic !!!"}, {"Authorization": "Basic " + base64.b64encode(b"nocolon").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()}, {"Authorization": "Digest x"},
        {"Authorization": ""}, {"Authorization": "Token"}, {"Authorization": "Bearer tsdb_wrong"},
    ],
)  # fmt: skip
def test_credentials_that_are_none_are_401(guarded: Running, telegraf: str, headers: dict[str, str]) -> None:
    assert ask(guarded, "POST", "/write?db=metrics", LINE, headers)[0] == 401


def test_a_wrong_password_and_an_unknown_user_are_one(
    guarded: Running, telegraf: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tsdb"):
        answers = [ask(guarded, "POST", "/write?db=metrics", LINE, basic(user, "wrong-password"))[:2]
                   for user in ("telegraf", "stranger")]  # fmt: skip
    assert answers == [(401, {"error": "authorization failed"})] * 2
    assert "wrong-password" not in caplog.text
    users = [record.fields["user"] for record in caplog.records if hasattr(record, "fields")]
    assert users == ["telegraf", "stranger"]


def test_guessing_is_slowed_and_counts_together_with_the_sql_port(guarded: Running) -> None:
    guarded.run("CREATE USER guessed PASSWORD 'x'")
    for _ in range(3):
        ask(guarded, "POST", "/write?db=metrics", LINE, basic("guessed", "wrong"))
    started = time.monotonic()
    with pytest.raises(psycopg.OperationalError):
        guarded.connect("guessed", "wrong").close()
    assert time.monotonic() - started > 0.7


def test_a_password_is_hashed_once_and_not_for_each_request(guarded: Running, telegraf: str) -> None:
    headers = basic("telegraf", "te:le graf")
    ask(guarded, "POST", "/write?db=metrics", LINE, headers)
    guarded.run("ALTER USER telegraf PASSWORD 'other'")
    assert ask(guarded, "POST", "/write?db=metrics", LINE, headers)[0] == 401, "the old one is not remembered"
    guarded.run("ALTER USER telegraf PASSWORD 'te:le graf'")
    assert ask(guarded, "POST", "/write?db=metrics", LINE, headers)[0] == 204


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/write?db=metrics", "error"),
        ("/api/v2/write?bucket=metrics", "message"),
        ("/api/v3/write_lp?db=metrics", "error"),
    ],
)
def test_what_a_role_may_not_is_403(guarded: Running, telegraf: str, path: str, key: str) -> None:
    with guarded.connect(dbname="metrics") as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS private (time timestamptz, v float8)")
    headers = {"Authorization": f"Token {telegraf}"}
    status, answer, _ = ask(guarded, "POST", path, "private v=1 1", headers)
    assert (status, answer[key]) == (403, "permission denied for table private")
    status, answer, _ = ask(guarded, "POST", path, "private w=1 1", headers)
    assert (status, answer[key]) == (403, "permission denied for table private"), "nor may it add a field"
    assert "w" not in guarded.server.node.catalog.find("metrics").find("private").by_name
    if "v2" in path:
        assert answer["code"] == "forbidden"
    mixed = f"{LINE}\nprivate v=1 1"
    assert ask(guarded, "POST", path, mixed, headers)[0] == 403


def test_a_role_that_may_insert_may_add_fields_but_no_series(guarded: Running) -> None:
    guarded.run("CREATE DATABASE lines", "CREATE USER inserter PASSWORD 'x'")
    with guarded.connect(dbname="lines") as connection:
        connection.execute("CREATE TABLE m (time timestamptz, v float8)")
        connection.execute("GRANT INSERT ON m TO inserter")
    headers = basic("inserter", "x")
    assert ask(guarded, "POST", "/write?db=lines", "m v=1,w=2 1", headers)[0] == 204
    status, answer, _ = ask(guarded, "POST", "/write?db=lines", "n v=1 1", headers)
    assert (status, answer["error"]) == (403, "permission denied for schema public")
    status, answer, _ = ask(guarded, "POST", "/write?db=brand_new", "n v=1 1", headers)
    assert (status, answer["error"]) == (403, "permission denied to create database")
    assert "brand_new" not in guarded.server.node.catalog.databases


def test_influxql_asks_for_the_same_privileges(guarded: Running, telegraf: str) -> None:
    headers = {"Authorization": f"Token {telegraf}"}
    assert ask(guarded, "POST", "/query?q=CREATE+DATABASE+metrics", "", headers)[0] == 200, "it is there already"
    status, answer, _ = ask(guarded, "POST", "/query?q=CREATE+DATABASE+fresh", "", headers)
    assert (status, answer["error"]) == (403, "permission denied to create database")
    guarded.run("CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    assert ask(guarded, "GET", "/query?q=SHOW+MEASUREMENTS&db=closed", "", headers)[0] == 403
    assert ask(guarded, "POST", "/write?db=closed", LINE, headers)[0] == 403


def test_tokens_are_shown_once_listed_and_revoked(guarded: Running, denied: Denied) -> None:
    guarded.run("CREATE USER tokened PASSWORD 'x'", "GRANT CREATE ON DATABASE tsdb TO tokened")
    with guarded.connect("tokened", "x") as connection:
        row = connection.execute("CREATE TOKEN mine").fetchone()
        assert row is not None
        text = str(row[0])
        assert text.startswith("tsdb_")
        assert len(text) > 40
        cursor = connection.execute("SHOW TOKENS")
        assert [column.name for column in cursor.description or ()] == ["name", "role", "created", "valid_until"]
        assert [(name, role) for name, role, *_ in cursor.fetchall()] == [("mine", "tokened")]
        with pytest.raises(psycopg.errors.DuplicateObject):
            connection.execute("CREATE TOKEN mine")
        assert "permission denied for tokens" in denied(connection, "CREATE TOKEN other FOR telegraf")
        headers = {"Authorization": f"Token {text}"}
        assert ask(guarded, "POST", "/write?db=tsdb", "by_token v=1 1", headers)[0] == 204
        connection.execute("DROP TOKEN mine")
        assert ask(guarded, "POST", "/write?db=tsdb", "by_token v=1 1", headers)[0] == 401
        connection.execute("DROP TOKEN IF EXISTS mine")
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("DROP TOKEN mine")
    assert text not in repr(guarded.server.node.catalog.roles)


def test_what_was_let_in_a_moment_ago_is_refused_when_its_token_is_gone(guarded: Running) -> None:
    guarded.run("CREATE DATABASE taken", "CREATE USER writer PASSWORD 'w'", "GRANT CREATE ON DATABASE taken TO writer")
    with guarded.connect() as connection:
        (token,) = connection.execute("CREATE TOKEN writes FOR writer").fetchone() or ("",)
    client, reader = connect(guarded.server.http_port)
    with client:

        def write() -> int:
            client.sendall(request("/write?db=taken", b"m v=1 1", f"Authorization: Token {token}\r\n"))
            return answer(reader)[0]

        assert [write() for _ in range(5)] == [204] * 5
        guarded.run("DROP TOKEN writes")
        assert write() == 401


def test_a_token_ends_when_it_was_said_to(guarded: Running) -> None:
    with guarded.connect() as connection:
        row = connection.execute("CREATE TOKEN old VALID UNTIL '2020-01-01'").fetchone()
        assert row is not None
    assert ask(guarded, "POST", "/write?db=tsdb", LINE, {"Authorization": f"Token {row[0]}"})[0] == 401


def test_an_open_loopback_asks_for_nothing_and_guards_itself(open_server: Running) -> None:
    open_server.run("CREATE USER metered PASSWORD 'x'", "CREATE TABLE held (time timestamptz, v float8)")
    assert ask(open_server, "POST", "/write?db=tsdb", LINE)[0] == 204
    assert ask(open_server, "POST", "/write?db=tsdb", LINE, {"Authorization": "Token whatever"})[0] == 204
    assert ask(open_server, "POST", "/write?db=tsdb", "held v=1 1", basic("metered", "not asked"))[0] == 403
    assert ask(open_server, "POST", "/write?db=tsdb", LINE, {"Origin": "http://evil.example"})[0] == 403
    assert ask(open_server, "POST", "/write?db=tsdb", LINE, {"Host": "evil.example"})[0] == 403


def test_with_passwords_any_host_name_is_served(guarded: Running, telegraf: str) -> None:
    headers = {"Host": "tsdb.example", "Authorization": f"Token {telegraf}"}
    assert ask(guarded, "POST", "/write?db=metrics", LINE, headers)[0] == 204
    assert ADMIN_PASSWORD not in repr(guarded.server.node.catalog.roles)
