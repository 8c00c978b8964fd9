"""asyncpg, which sends and reads everything in binary and trusts ParameterDescription."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from tests.clients.values import INSTANT, VALUES
from tests.session.conftest import Server

Body = Callable[[Any], Awaitable[Any]]


def options(server: Server) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "user": "tester", "database": "tsdb", "ssl": False}


def run(server: Server, body: Body) -> Any:
    """What ``body`` makes of a connection."""

    async def connected() -> Any:
        connection = await asyncpg.connect(**options(server))
        try:
            return await body(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


def test_values_of_all_types_go_and_come_back(server: Server) -> None:
    async def body(c: Any) -> list[object]:
        return [await c.fetchval(f"SELECT $1::{name}", value) for name, value in VALUES]

    assert run(server, body) == [value for _, value in VALUES]


def test_json_and_types_of_parameters_and_columns(server: Server) -> None:
    async def body(c: Any) -> Any:
        statement = await c.prepare("SELECT $1::jsonb AS j, $2::int8 + 1 AS n, $3::text AS t")
        row = await statement.fetchrow('{"a": [1]}', 4, "x")
        return tuple(row), [p.name for p in statement.get_parameters()], [a.name for a in statement.get_attributes()]

    assert run(server, body) == (('{"a": [1]}', 5, "x"), ["jsonb", "int8", "text"], ["j", "n", "t"])


def test_executemany_transactions_and_savepoints(server: Server) -> None:
    async def body(c: Any) -> Any:
        await c.execute("DROP TABLE IF EXISTS apg; CREATE TABLE apg (time timestamptz, host text TAG, n int8)")
        await c.executemany("INSERT INTO apg VALUES ($1, $2, $3)", [(INSTANT, f"h{i}", i) for i in range(20)])
        async with c.transaction():
            await c.execute("INSERT INTO apg VALUES ($1, 'own', 100)", INSTANT)
            assert await c.fetchval("SELECT count(*) FROM apg") == 21
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with c.transaction():
                    await c.execute("DELETE FROM apg WHERE n < 10")
                    await c.fetchval("SELECT 1 / 0")
            assert await c.fetchval("SELECT count(*) FROM apg") == 21
        with pytest.raises(KeyError):
            async with c.transaction():
                await c.execute("TRUNCATE apg")
                raise KeyError
        return await c.fetchval("SELECT sum(n)::int8 FROM apg")

    assert run(server, body) == 290


def test_cursors_move_and_iterate(server: Server) -> None:
    async def body(c: Any) -> Any:
        async with c.transaction():
            cursor = await c.cursor("SELECT g FROM generate_series(1, $1::int) AS t(g) ORDER BY g", 100)
            await cursor.forward(5)
            some = [row["g"] for row in await cursor.fetch(3)]
            one = (await cursor.fetchrow())["g"]
            every = [row["g"] async for row in c.cursor("SELECT g FROM generate_series(1, 120) AS t(g) ORDER BY g")]
        return some, one, len(every)

    assert run(server, body) == ([6, 7, 8], 9, 120)


def test_notifications_notices_and_cancel(server: Server) -> None:
    async def body(c: Any) -> Any:
        heard: asyncio.Queue[Any] = asyncio.Queue()
        notices: list[str] = []
        await c.add_listener("apg_news", lambda *found: heard.put_nowait(found[2:]))
        c.add_log_listener(lambda _, message: notices.append(message.message))
        other = await asyncpg.connect(**options(server))
        await other.execute("NOTIFY apg_news, 'hi'")
        await other.close()
        told = await asyncio.wait_for(heard.get(), 60)
        await c.execute("DROP TABLE IF EXISTS nowhere")
        with pytest.raises(asyncio.TimeoutError):
            await c.fetchval("SELECT pg_sleep(20)", timeout=0.2)
        await c.reset()
        return told, notices, await c.fetchval("SELECT 7")

    told, notices, value = run(server, body)
    assert (told, value) == (("apg_news", "hi"), 7)
    assert notices == ['table "nowhere" does not exist, skipping']


def test_a_pool_and_copied_records(server: Server) -> None:
    async def pooled() -> Any:
        async with asyncpg.create_pool(min_size=2, max_size=3, **options(server)) as pool:
            await pool.execute("DROP TABLE IF EXISTS apg_copy")
            await pool.execute("CREATE TABLE apg_copy (time timestamptz, host text TAG, v float8)")
            await pool.copy_records_to_table("apg_copy", records=[(INSTANT, "a", 1.5), (INSTANT, "b", None)])
            return [tuple(row) for row in await pool.fetch("SELECT host, v FROM apg_copy ORDER BY host")]

    assert asyncio.run(pooled()) == [("a", 1.5), ("b", None)]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SELECT nope", asyncpg.UndefinedColumnError),
        ("SELECT * FROM nope", asyncpg.UndefinedTableError),
        ("SELEC 1", asyncpg.PostgresSyntaxError),
        ("SELECT 'x'::int", asyncpg.InvalidTextRepresentationError),
    ],
)
def test_errors_by_class(server: Server, text: str, error: type[Exception]) -> None:
    async def body(c: Any) -> None:
        with pytest.raises(error):
            await c.fetch(text)

    run(server, body)


def test_rows_are_records_of_asyncpg(server: Server) -> None:
    """A table's row by its type, whose fields asyncpg looks up; an anonymous one by what it says of itself."""

    async def body(c: Any) -> Any:
        await c.execute("DROP TABLE IF EXISTS apg_rows; CREATE TABLE apg_rows (id int PRIMARY KEY, t text, n numeric)")
        await c.execute("INSERT INTO apg_rows VALUES (1, 'a b', 1.50), (2, NULL, NULL)")
        rows = await c.fetch("SELECT apg_rows FROM apg_rows ORDER BY id")
        listed = await c.fetchval("SELECT array_agg(apg_rows ORDER BY id) FROM apg_rows")
        single = await c.fetchval("SELECT ROW(1, 'x'::text, ROW(INSTANT))".replace("INSTANT", "'2020-01-01'::date"))
        return [dict(r[0]) for r in rows], [tuple(r) for r in listed], single

    first, second = {"id": 1, "t": "a b", "n": Decimal("1.50")}, {"id": 2, "t": None, "n": None}
    assert run(server, body) == (
        [first, second], [tuple(first.values()), tuple(second.values())], (1, "x", (dt.date(2020, 1, 1),))
    )  # fmt: skip
