"""What an ODBC user does in the first ten minutes (Excel, Power BI, R, SAS). Each line is one finding."""

import datetime
import decimal
import sys
from collections.abc import Callable
from typing import Any

import pyodbc

Step = Callable[[], object]


def say(what: str, step: Step) -> None:
    try:
        found = step()
    except pyodbc.Error as error:
        found = f"error {error.args[0]}"
    print(f"{what}: {found}", flush=True)


def shape(cursor: Any) -> str:
    about = [(d[0], d[1].__name__, d[3], d[4], d[5], d[6]) for d in cursor.description]
    return f"{about} {[tuple(row) for row in cursor.fetchall()]}"


def main(driver: str, port: str) -> None:
    settings = f"Driver={driver};Server=127.0.0.1;Port={port};Database=tsdb;Uid=tsdb;ApplicationName=tour"
    c = pyodbc.connect(settings, autocommit=True)
    x = c.cursor()
    at = datetime.datetime(2026, 1, 1, 0, 0, 0, 123456)
    say("dbms", lambda: c.getinfo(pyodbc.SQL_DBMS_NAME))
    say(
        "create",
        lambda: (
            x.execute(
                "CREATE TABLE om (time timestamptz NOT NULL, host text NOT NULL, cpu float8, n int8, i int4, ok bool,"
                " d date, num numeric(12,3), v varchar(20), PRIMARY KEY (time, host))"
            ).rowcount
        ),
    )
    insert = "INSERT INTO om VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    row = (at, "h0", 1.5, 1 << 40, 7, True, datetime.date(2026, 2, 3), decimal.Decimal("12.5"), "v")
    say("insert", lambda: x.execute(insert, row).rowcount)
    say(
        "nulls",
        lambda: x.execute(insert, (at.replace(second=1), "h1", None, None, None, None, None, None, None)).rowcount,
    )
    say(
        "many",
        lambda: x.executemany(
            "INSERT INTO om (time, host, cpu) VALUES (?, ?, ?)", [(at.replace(minute=k), "m", k) for k in range(5)]
        ),
    )
    say("select", lambda: shape(x.execute("SELECT * FROM om ORDER BY time, host")))
    by_host = "SELECT host, cpu FROM om WHERE host = ? AND time >= ? ORDER BY time"
    say("prepared 0", lambda: shape(x.execute(by_host, "h0", at)))
    say("prepared 1", lambda: shape(x.execute(by_host, "h1", at)))
    say("prepared 2", lambda: shape(x.execute(by_host, "h0", at)))
    say(
        "aggregate",
        lambda: shape(x.execute("SELECT host, count(*), avg(cpu), sum(n) FROM om GROUP BY host ORDER BY host")),
    )
    say("escape", lambda: shape(x.execute("SELECT {fn UCASE('abc')}, {d '2026-01-01'}, {ts '2026-01-01 00:00:00'}")))
    say("error", lambda: x.execute("SELECT nothing FROM om"))
    say("division", lambda: shape(x.execute("SELECT 1/0")))
    say("after", lambda: shape(x.execute("SELECT 1 AS one")))
    say("tables", lambda: [tuple(t)[1:4] for t in c.cursor().tables(schema="public", table="om")])
    say("columns", lambda: [tuple(t)[2:11] for t in c.cursor().columns(schema="public", table="om")])
    say("keys", lambda: [tuple(t)[1:6] for t in c.cursor().primaryKeys(schema="public", table="om")])
    say("statistics", lambda: [tuple(t)[1:6] for t in c.cursor().statistics(schema="public", table="om")][1:])
    say("types", lambda: len(list(c.cursor().getTypeInfo())) > 10)
    say("procedures", lambda: [tuple(t) for t in c.cursor().procedures(schema="public")])
    say("several", lambda: (x.execute("SELECT 1; SELECT 2, 'x'"), x.fetchall(), x.nextset(), shape(x))[1:])
    c.autocommit = False
    say("in transaction", lambda: x.execute("INSERT INTO om (time, host) VALUES (?, 'tx')", at).rowcount)
    say("seen", lambda: shape(x.execute("SELECT count(*) FROM om WHERE host = 'tx'")))
    say("fails", lambda: x.execute("SELECT broken"))
    say("still", lambda: shape(x.execute("SELECT count(*) FROM om WHERE host = 'tx'")))
    say("rollback", c.rollback)
    say("gone", lambda: shape(x.execute("SELECT count(*) FROM om WHERE host = 'tx'")))
    c.commit()
    c.autocommit = True
    fetched = pyodbc.connect(settings + ";UseDeclareFetch=1;Fetch=100", autocommit=True)
    y = fetched.cursor()
    say("declare and fetch", lambda: sum(r[0] for r in y.execute("SELECT g FROM generate_series(1, 1050) g")))
    fetched.close()
    say("drop", lambda: x.execute("DROP TABLE om").rowcount)
    c.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
