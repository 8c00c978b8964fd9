"""Values of every type that drivers send and read, as Python has them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

UTC = dt.UTC
INSTANT = dt.datetime(2020, 2, 29, 23, 59, 58, 5, tzinfo=UTC)

# (PostgreSQL's type, value)
VALUES: list[tuple[str, object]] = [
    ("bool", True), ("int2", -5), ("int4", 2**31 - 1), ("int8", -(2**63)), ("float4", 1.5), ("float8", 1e300),
    ("numeric", Decimal("123.4500")), ("text", "hé 'x'"), ("varchar", "v"), ("name", "n"), ("bytea", b"\0\xff\\"),
    ("date", dt.date(2020, 2, 29)), ("time", dt.time(1, 2, 3, 4)), ("timestamp", INSTANT.replace(tzinfo=None)),
    ("timestamptz", INSTANT), ("interval", dt.timedelta(days=3, seconds=4, microseconds=5)), ("uuid", uuid.UUID(int=5)),
    ("int4[]", [1, None, 3]), ("text[]", ["a", None, 'q"\\', "", "NULL"]), ("float8[]", [1.5, -0.0]),
    ("bool[]", [True, False]),
    ("timestamptz[]", [INSTANT]), ("numeric[]", [Decimal("1.5")]), ("date[]", [dt.date(2020, 1, 1)]),
    ("bytea[]", [b"a"]), ("uuid[]", [uuid.UUID(int=5)]), ("interval[]", [dt.timedelta(1)]),
]  # fmt: skip
