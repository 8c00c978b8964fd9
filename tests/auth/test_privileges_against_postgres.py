"""Random histories of roles and grants, here and in a real PostgreSQL: afterwards everybody may do the same.

Statements are read by our own grammar and applied to a catalog, without a server. Known difference: PostgreSQL 16 keeps
by membership whether it inherits, 15 and we by role; so roles here say which when they are made and keep to it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.postgres import cluster, programs
from tsdb.errors import TsdbError
from tsdb.model import privileges
from tsdb.model.privileges import Owned, Privilege
from tsdb.model.schema import LINE_PROTOCOL_TIME as TIME
from tsdb.model.schema import Catalog, CreateDatabase, CreateSeries, apply
from tsdb.sql.context import Context
from tsdb.sql.ddl import roles
from tsdb.sql.statement import Ddl, parse, split

TABLES = ("t1", "t2")
NAMES = ("r1", "r2", "r3", "r4", "r5")
WORDS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "ALL")
CONTEXT = Context("d")


@pytest.fixture(scope="module")
def real() -> Iterator[psycopg.Connection]:
    binaries = programs()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed")
    with cluster(binaries) as address, psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE d")
        with psycopg.connect(address.replace("dbname=postgres", "dbname=d"), autocommit=True) as inside:
            yield inside


def statement(chance: random.Random) -> str:
    role, other, table = chance.choice(NAMES), chance.choice(NAMES), chance.choice(TABLES)
    grantee = chance.choice((*NAMES, "PUBLIC"))
    words = ", ".join(dict.fromkeys(chance.choices(WORDS[:-1], k=chance.randint(1, 3))))
    words = chance.choice((words, "ALL"))
    table = chance.choice((table, "ALL TABLES IN SCHEMA public"))
    return chance.choice(
        (
            f"GRANT {words} ON {table} TO {grantee}",
            f"REVOKE {words} ON {table} FROM {grantee}",
            f"GRANT {role} TO {other}",
            f"REVOKE {role} FROM {other}",
            f"ALTER TABLE {chance.choice(TABLES)} OWNER TO {role}",
            f"REASSIGN OWNED BY {role} TO {other}",
            f"DROP ROLE {role}",
            f"CREATE ROLE {role} {chance.choice(('INHERIT', 'NOINHERIT'))}",
            f"GRANT CONNECT, TEMPORARY ON DATABASE d TO {grantee}",
            f"REVOKE {chance.choice(('CONNECT', 'CREATE', 'ALL'))} ON DATABASE d FROM {grantee}",
            f"GRANT pg_read_all_data TO {role}",
            f"REVOKE pg_read_all_data FROM {role}",
        )
    )


def apply_here(catalog: Catalog, text: str) -> tuple[Catalog, str]:
    parsed = parse(split(text)[0])
    assert isinstance(parsed, Ddl)
    try:
        plan = roles.plan(parsed, CONTEXT, catalog)
        assert plan is not None
        return apply(catalog, plan.changes), ""
    except TsdbError as error:
        return catalog, error.sqlstate


def apply_there(real: psycopg.Connection, text: str) -> str:
    try:
        real.execute(text.encode())
    except psycopg.Error as error:
        return error.sqlstate or "?"
    return ""


def here(catalog: Catalog) -> set[tuple[str, str, str]]:
    found = set()
    database = catalog.find("d")
    for role in NAMES:
        if role not in catalog.roles.by_name:
            continue
        number = catalog.roles.find(role).number
        targets: list[Owned] = [database, *database.series.values()]
        for target in targets:
            allowed = privileges.privileges_of(catalog.roles, number, target)
            found |= {(role, target.name, p.name or "") for p in Privilege if p and p & allowed}
    return {each for each in found if each[2] not in ("REFERENCES", "TRIGGER")}


def there(real: psycopg.Connection) -> set[tuple[str, str, str]]:
    query = """
        SELECT rolname, t, p FROM pg_roles, unnest(%s::text[]) AS t,
          unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS p
        WHERE rolname = ANY(%s) AND has_table_privilege(rolname, t, p)
        UNION ALL
        SELECT rolname, 'd', p FROM pg_roles, unnest('{CONNECT,CREATE,TEMPORARY}'::text[]) AS p
        WHERE rolname = ANY(%s) AND has_database_privilege(rolname, 'd', p)
    """
    return set(real.execute(query.encode(), (list(TABLES), list(NAMES), list(NAMES))).fetchall())


def history(real: psycopg.Connection, seed: int, length: int) -> None:
    chance = random.Random(seed)
    for table in TABLES:
        real.execute(f"DROP TABLE IF EXISTS {table}".encode())
    real.execute("GRANT CONNECT, TEMPORARY ON DATABASE d TO PUBLIC")
    for name in NAMES:
        if real.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
            real.execute(f"DROP OWNED BY {name}".encode())
            real.execute(f"DROP ROLE {name}".encode())
    catalog = apply(Catalog(), [CreateDatabase("d"), *(CreateSeries("d", t, (TIME,), keyed=True) for t in TABLES)])
    for table in TABLES:
        real.execute(f"CREATE TABLE {table} (time timestamptz)".encode())
    for name in NAMES[:4]:
        inherit = chance.choice(("INHERIT", "NOINHERIT"))
        for text in (f"CREATE ROLE {name} {inherit}",):
            catalog, sqlstate = apply_here(catalog, text)
            assert (sqlstate, apply_there(real, text)) == ("", "")
    told = []
    for _ in range(length):
        text = statement(chance)
        told.append(text)
        catalog, sqlstate = apply_here(catalog, text)
        assert sqlstate == apply_there(real, text), "\n".join([f"seed {seed}", *told])
        assert here(catalog) == there(real), "\n".join([f"seed {seed}", *told])


@pytest.mark.parametrize("seed", range(8))
def test_after_any_history_everybody_may_do_the_same_as_in_postgresql(real: psycopg.Connection, seed: int) -> None:
    history(real, seed, 60)


@pytest.mark.nightly
def test_after_many_histories_everybody_may_do_the_same_as_in_postgresql(real: psycopg.Connection) -> None:
    for seed in range(100, 400):
        history(real, seed, 120)
