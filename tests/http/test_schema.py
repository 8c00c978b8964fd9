"""The schema under writes of line protocol: conflicts, what ALTER repairs, what is wide, what is too long."""

from __future__ import annotations

import http.client
import json
from typing import Any

import psycopg

from tests.lines.conftest import rows
from tsdb.server import Server


def write(server: Server, text: str, path: str = "/write?db=tsdb") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    try:
        connection.request("POST", path, text.encode())
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else {}
    finally:
        connection.close()


def execute(server: Server, *statements: str) -> None:
    with psycopg.connect(server.pg_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


OF_A_TYPE = {"float": "1.5", "integer": "1i", "unsigned": "18446744073709551615u", "boolean": "t", "string": '"x"'}


def test_a_conflict_names_both_types_and_costs_its_own_line_alone(server: Server) -> None:
    for there, first in OF_A_TYPE.items():
        assert write(server, f"{there} f={first} 1")[0] == 204
        for number, (sent, value) in enumerate(OF_A_TYPE.items()):
            text = f"{there} f={value},other=1 {10 + number}\n{there} other=2 {20 + number}"
            status, body = write(server, text, "/api/v3/write_lp?db=tsdb")
            if sent == there or (there, sent) == ("float", "integer"):
                assert (status, body) == (204, {})
                continue
            assert status == 400, (there, sent)
            [bad] = body["data"]
            assert bad["line_number"] == 1
            if (there, sent) == ("integer", "unsigned"):
                assert bad["error_message"].endswith("is out of range for type bigint")
            else:
                conflict = f'field type conflict: input field "f" on measurement "{there}" is type {sent}'
                assert bad["error_message"] == f"{conflict}, already exists as type {there}"
        assert rows(server, f'SELECT count(*) FROM "{there}" WHERE other = 2') == [(5,)]


def test_what_was_written_wrongly_is_repaired_by_alter_and_writes_go_on(server: Server) -> None:
    assert write(server, 'm,host=a temp="12.5",n=1i,old=1 1\nm,host=b temp="13",n=2i,old=2 2')[0] == 204
    assert "is type float, already exists as type string" in write(server, "m,host=a temp=1.5 3")[1]["error"]
    execute(server, "ALTER TABLE m ALTER COLUMN temp TYPE float8 USING temp::float8")
    assert write(server, "m,host=a temp=14.5,n=3i 3")[0] == 204
    execute(server, "ALTER TABLE m RENAME COLUMN n TO number", "ALTER TABLE m DROP COLUMN old")
    assert write(server, 'm,host=c temp=15,number=4i,n=t,old="text" 4')[0] == 204
    assert rows(server, "SELECT host, temp, number, n, old FROM m ORDER BY time") == [
        ("a", 12.5, 1, None, None), ("b", 13.0, 2, None, None), ("a", 14.5, 3, None, None), ("c", 15.0, 4, True, "text")
    ]  # fmt: skip
    execute(server, "ALTER TABLE m RENAME TO weather")
    assert write(server, "weather,host=d temp=16 5\nm other=1i 5")[0] == 204
    assert rows(server, "SELECT count(*) FROM weather") == [(5,)]
    assert rows(server, "SELECT other FROM m") == [(1,)]


def test_a_tag_may_come_later_and_its_value_be_changed(server: Server) -> None:
    assert write(server, "m,host=a f=1 1")[0] == 204
    assert write(server, "m,host=a,rack=r1 f=2 1\nm,rack=r2,host=a f=3 2")[0] == 204
    assert rows(server, "SELECT host, rack, f FROM m ORDER BY time, f") == [
        ("a", None, 1.0), ("a", "r1", 2.0), ("a", "r2", 3.0)
    ]  # fmt: skip
    execute(server, "UPDATE m SET host = 'b' WHERE rack = 'r2'", "UPDATE m SET rack = 'r0' WHERE rack IS NULL")
    assert rows(server, "SELECT host, rack, f FROM m ORDER BY time, f") == [
        ("a", "r0", 1.0), ("a", "r1", 2.0), ("b", "r2", 3.0)
    ]  # fmt: skip
    assert write(server, "m,host=b,rack=r2 f=4 2")[0] == 204
    assert rows(server, "SELECT f FROM m WHERE host = 'b'") == [(4.0,)]
    status, body = write(server, "m,f=x g=1 3\nm host=1,g=2 4\nm,host=a g=3 5")
    assert (status, body["error"]) == (400, (
        "partial write: unable to parse 'm,f=x g=1 3': \"f\" is a field of \"m\", not a tag; "
        "unable to parse 'm host=1,g=2 4': \"host\" is a tag of \"m\", not a field dropped=2"
    ))  # fmt: skip


def test_a_series_of_3000_fields_is_written_and_read(server: Server) -> None:
    for part in range(3):
        fields = ",".join(f"f{i}={i}" for i in range(part * 1000, part * 1000 + 1000))
        assert write(server, "".join(f"wide {fields} {time}\n" for time in range(3)))[0] == 204
    assert rows(server, "SELECT count(*), sum(f0), sum(f2999), max(f1500) FROM wide") == [(3, 0.0, 8997.0, 1500.0)]
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'wide'"
    assert rows(server, columns) == [(3001,)]
    status, body = write(server, "wide " + ",".join(f"g{i}=1" for i in range(5001)) + " 1")
    assert (status, "too many fields: at most 5000 are allowed" in body["error"]) == (400, True)


def test_12000_series_are_written_at_once_and_one_by_one(server: Server) -> None:
    for part in range(4):
        text = "".join(f"s{i},host=a v={i}i 1\n" for i in range(part * 3000, part * 3000 + 3000))
        assert write(server, text, "/write?db=many")[0] == 204
    assert write(server, "s11999,host=a v=1i 2\ns12000 v=1i 2", "/write?db=many")[0] == 204
    assert rows(server, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^s[0-9]+$'", "many") == [
        (12_001,)
    ]
    assert rows(server, "SELECT v FROM s11999 ORDER BY time", "many") == [(11_999,), (1,)]


TOO_LONG = {
    f"m,{'k' * 256}=a f=1 1": "name too long: at most 255 bytes are allowed",
    f"{'m' * 256} f=1 1": "name too long: at most 255 bytes are allowed",
    f"m {'f' * 256}=1 1": "name too long: at most 255 bytes are allowed",
    f"m,k={'v' * 65_600} f=1 1": "max key length exceeded: series key and field key have at most 65535 bytes",
    f'm f="{"x" * ((1 << 20) + 1)}" 1': "string too long: at most 1048576 bytes are allowed",
    "m," + ",".join(f"t{i}=a" for i in range(1001)) + " f=1 1": "too many tags: at most 1000 are allowed",
    "m " + ",".join(f'f{i}="{"x" * (1 << 20)}"' for i in range(5)): "line too long: at most 4194304 bytes are allowed",
}


def test_what_is_too_long_is_said_with_its_limit_and_the_next_line_is_good(server: Server) -> None:
    for number, (line, why) in enumerate(TOO_LONG.items()):
        status, body = write(server, f"{line}\nm f=2 2\n", f"/api/v3/write_lp?db=d{number}")
        assert (status, [bad["line_number"] for bad in body["data"]]) == (400, [1]), why
        assert why in body["data"][0]["error_message"]
        assert rows(server, "SELECT f FROM m", f"d{number}") == [(2.0,)]


def test_what_is_just_short_enough_is_stored(server: Server) -> None:
    name, value = "n" * 255, "v" * 60_000
    assert write(server, f'{name},{name}1=x f=1 1\nm,k={value} s="{"x" * (1 << 20)}" 1')[0] == 400
    assert write(server, f'{name},k={value} {name[:-1]}f=1 1\nm,k={value} s="{"x" * (1 << 20)}" 1')[0] == 204
    assert rows(server, "SELECT length(s), length(k) FROM m ORDER BY 1 DESC LIMIT 1") == [(1 << 20, 60_000)]
