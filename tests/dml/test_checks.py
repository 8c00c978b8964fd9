"""CHECK constraints: a real PostgreSQL refuses the same rows, with the same words and fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from tests.dml.side_by_side import held, said
from tests.fixtures.postgres import Both, Connection, prepared
from tests.session.conftest import Server

TABLES: list[LiteralString] = ["c", "e"]
SETUP: list[LiteralString] = [
    "CREATE TABLE c (id int PRIMARY KEY, a int CHECK (c.a > 0), b text CONSTRAINT b_short CHECK (length(b) < 5), "
    "CHECK (a < 100 OR b IS NOT NULL), ok bool, d date CHECK (d >= '2020-01-01'))",
    'CREATE TABLE e (x float8, y float8, "Odd name" int, CONSTRAINT in_order CHECK (x <= y))',
    "INSERT INTO c VALUES (1, 5, 'x', true, NULL), (2, 50, NULL, NULL, NULL), (3, NULL, 'z', false, '2021-01-01')",
    "INSERT INTO e VALUES (1, 2, 3), (NULL, 5, NULL)",
]
STATEMENTS: list[LiteralString] = [
    "INSERT INTO c VALUES (4, 1, 'y')",
    "INSERT INTO c VALUES (4, 0, 'y', false)",
    "INSERT INTO c VALUES (4, 1, 'too long', true)",
    "INSERT INTO c VALUES (4, 500)",
    "INSERT INTO c VALUES (4, 500, 'b')",
    "INSERT INTO c VALUES (4, NULL, NULL)",
    "INSERT INTO c VALUES (4, 1, 'y'), (5, -1, 'y'), (6, -2, 'y')",
    "INSERT INTO c VALUES (4, -1, 'much too long', NULL, '2019-12-31')",
    "INSERT INTO c SELECT g, g - 7, 'q' FROM generate_series(4, 10) AS g",
    "INSERT INTO c (id, d) VALUES (4, '2019-12-31') RETURNING id",
    "INSERT INTO c (id, b) VALUES (4, repeat('ä', 60))",
    "INSERT INTO c VALUES (1, -1) ON CONFLICT DO NOTHING",
    "INSERT INTO c VALUES (1, 7) ON CONFLICT (id) DO UPDATE SET a = excluded.a - 10",
    "INSERT INTO c VALUES (1, 7) ON CONFLICT (id) DO UPDATE SET a = excluded.a",
    "INSERT INTO c VALUES (2, 700, 'x') ON CONFLICT (id) DO UPDATE SET a = excluded.a",
    "UPDATE c SET a = a - 5",
    "UPDATE c SET a = a + 1",
    "UPDATE c SET b = NULL, a = 200 WHERE id = 1",
    "UPDATE c SET a = 200 WHERE id = 2",
    "UPDATE c SET id = id + 10, a = 0 WHERE id = 1",
    "UPDATE e SET x = 6 RETURNING *",
    "UPDATE e SET x = y",
    "MERGE INTO c USING (VALUES (1, -3)) AS g (i, n) ON c.id = g.i WHEN MATCHED THEN UPDATE SET a = n",
    "MERGE INTO c USING (VALUES (9, -3)) AS g (i, n) ON c.id = g.i WHEN NOT MATCHED THEN INSERT (id, a) VALUES (i, n)",
    "ALTER TABLE c ADD CHECK (a > 5)",
    "ALTER TABLE c ADD CONSTRAINT larger CHECK (a > 4)",
    "ALTER TABLE c ADD COLUMN n int DEFAULT 5 CHECK (n > 10)",
    "ALTER TABLE c ADD COLUMN n int DEFAULT 5 CHECK (n > 1)",
    "ALTER TABLE c ADD CONSTRAINT b_short CHECK (a > 1)",
    "ALTER TABLE c ADD CHECK (a)",
    "ALTER TABLE c ADD CHECK (nope > 1)",
    "ALTER TABLE c ADD CHECK (a > (SELECT 1))",
    "ALTER TABLE c VALIDATE CONSTRAINT nope",
    "ALTER TABLE c VALIDATE CONSTRAINT c_pkey",
    "ALTER TABLE c DROP CONSTRAINT b_short",
    "ALTER TABLE c DROP CONSTRAINT nope",
    'ALTER TABLE e ADD CHECK ("Odd name" < 3)',
    'ALTER TABLE e ADD CHECK ("Odd name" < 4)',
]
# In one session each, one after the other.
SCRIPTS: dict[str, list[LiteralString]] = {
    "not valid": [
        "ALTER TABLE c ADD CONSTRAINT late CHECK (a > 10) NOT VALID", "INSERT INTO c VALUES (4, 10)",
        "ALTER TABLE c VALIDATE CONSTRAINT late", "UPDATE c SET b = 'w' WHERE id = 1", "DELETE FROM c WHERE id = 1",
        "ALTER TABLE c VALIDATE CONSTRAINT late", "INSERT INTO c VALUES (4, 10)",
    ],
    "renamed": [
        "ALTER TABLE c RENAME COLUMN a TO \"A b\"", "ALTER TABLE c RENAME COLUMN b TO a", "UPDATE c SET \"A b\" = 0",
        "UPDATE c SET a = 'too long'", "ALTER TABLE c RENAME CONSTRAINT c_a_check TO positive",
        "INSERT INTO c VALUES (7, -1)",
    ],
    "dropped": [
        "ALTER TABLE c DROP CONSTRAINT c_a_check", "INSERT INTO c VALUES (4, -5, 'x')",
        "ALTER TABLE c ADD CHECK (a > 0)", "ALTER TABLE c ADD CHECK (a > -6)", "INSERT INTO c VALUES (5, -7, 'x')",
        "ALTER TABLE e DROP COLUMN y", "INSERT INTO e VALUES (9)", "ALTER TABLE c DROP COLUMN d",
    ],
    "a table's own": [
        "ALTER TABLE e ADD CONSTRAINT e_x_check CHECK (x > 0)", "ALTER TABLE e ADD CHECK (x > 0.5)",
        "ALTER TABLE e ADD CHECK (x + y > 1 AND e.y < 100)", "INSERT INTO e VALUES (0.1, 2)",
        "INSERT INTO e VALUES (1, 200)",
    ],
}  # fmt: skip
LISTED = """
SELECT conname, contype, convalidated, conkey, pg_get_constraintdef(oid), pg_get_constraintdef(oid, true)
FROM pg_constraint WHERE conrelid IN ('c'::regclass, 'e'::regclass) AND contype = 'c'
ORDER BY conrelid = 'e'::regclass, conname
"""


@pytest.fixture
def both(connection: psycopg.Connection, postgres: Connection) -> Iterator[Both]:
    yield from prepared(connection, postgres, SETUP, TABLES)


def _listed(connection: Connection) -> list[Any]:
    return connection.execute(LISTED, prepare=False).fetchall()


@pytest.mark.parametrize("statement", STATEMENTS)
def test_rows_are_refused_as_in_postgresql(both: Both, statement: LiteralString) -> None:
    ours, theirs = both
    assert said(ours, statement) == said(theirs, statement)
    assert held(ours, TABLES) == held(theirs, TABLES)
    assert _listed(ours) == _listed(theirs)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_check_follows_its_table(both: Both, name: str) -> None:
    ours, theirs = both
    for statement in SCRIPTS[name]:
        assert said(ours, statement) == said(theirs, statement), statement
        assert held(ours, TABLES) == held(theirs, TABLES)
        assert _listed(ours) == _listed(theirs)


@pytest.mark.parametrize("rows", ["4\t1\n5\t-1\n6\t-2\n", "4\t1\n5\t2\n", "4\t1\n5\t700\n"])
def test_copy_names_the_line(both: Both, rows: str) -> None:
    found: list[object] = []
    for each in both:
        try:
            with each.cursor().copy("COPY c (id, a) FROM STDIN") as copy:
                copy.write(rows)
            found.append((held(each, TABLES),))
        except psycopg.Error as error:
            told = error.diag
            found.append((told.sqlstate, told.message_primary, told.message_detail, told.context, told.constraint_name))
    assert found[0] == found[1]


def test_a_time_series_has_checks_for_what_sql_writes(connection: psycopg.Connection) -> None:
    told: list[str | None] = []
    connection.add_notice_handler(lambda diagnostic: told.append(diagnostic.severity))
    connection.execute(
        "CREATE TABLE checked (time timestamptz, host text TAG, v float8 CHECK (v >= 0), PRIMARY KEY (host, time))"
    )
    assert told == ["WARNING"]
    connection.execute("INSERT INTO checked VALUES ('2026-01-01', 'a', 1)")
    for wrong in ("INSERT INTO checked VALUES ('2026-01-01', 'b', -1)", "UPDATE checked SET v = -1"):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(wrong.encode())
    assert connection.execute("SELECT host, v FROM checked").fetchall() == [("a", 1.0)]
    connection.execute("DROP TABLE checked")


def test_a_check_of_the_time_holds_under_its_new_name(connection: psycopg.Connection) -> None:
    connection.execute(
        "CREATE TABLE early (time timestamptz, v float8, CHECK (extract(hour FROM time AT TIME ZONE 'UTC') > 6))"
    )
    connection.execute("ALTER TABLE early RENAME COLUMN time TO ts")
    connection.execute("INSERT INTO early VALUES ('2026-01-01 07:00+00', 1)")
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO early VALUES ('2026-01-01 06:00+00', 1)")
    connection.execute("DROP TABLE early")


@pytest.mark.parametrize(
    "condition", ["", "n > 0, n < 5", "n > 0 FROM c", "n > 0 AS m", "n > 0 UNION SELECT true", "n > 0 ORDER BY 1"]
)
def test_a_check_is_one_condition(connection: psycopg.Connection, condition: str) -> None:
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.execute(f"CREATE TABLE odd (n int, CHECK ({condition}))".encode())


def test_a_comment_may_end_a_check(connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE remarked (n int)")
    connection.execute("ALTER TABLE remarked ADD CHECK (n > 0 -- more than nothing\n)")
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO remarked VALUES (0)")
    connection.execute("DROP TABLE remarked")


def test_a_check_asks_no_right_to_read(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE guarded (id int PRIMARY KEY, n int CHECK (n > 0)); CREATE ROLE blind")
        connection.execute("GRANT INSERT ON guarded TO blind")
        connection.execute("SET ROLE blind")
        connection.execute("INSERT INTO guarded VALUES (1, 1)")
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            connection.execute("INSERT INTO guarded VALUES (2, -77)")
        assert caught.value.diag.message_detail is None
        connection.execute("RESET ROLE")
        connection.execute("DROP TABLE guarded; DROP ROLE blind")
