"""Write the golden tables from a running PostgreSQL 15:  python -m tests.wire.golden.make "host=… user=…"

The values are drawn from a fixed seed, so that a second run on the same version writes the same files.
"""

from __future__ import annotations

import json
import random
import struct
import sys

import psycopg

from tests.wire.golden import INPUTS, VALUES
from tests.wire.golden.inputs import INPUT_TEXTS

ZONES = ("UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Monrovia")
EPOCH_US = 946_684_800_000_000


def instants(draw: random.Random, count: int) -> list[str]:
    """Binary timestamps: near, far, before Christ, and infinite."""
    spans = ((-2 * 10**15, 4 * 10**15), (-210_866_803_200 * 10**6, 9 * 10**18))
    drawn = [draw.randrange(*spans[k % 4 == 3]) - EPOCH_US for k in range(count)]
    round_ones = [value // 1_000_000 * 1_000_000 for value in drawn[: count // 4]]
    edges = [0, -EPOCH_US, -EPOCH_US - 1, 2**63 - 1, -(2**63)]
    return [value.to_bytes(8, "big", signed=True).hex() for value in (*drawn, *round_ones, *edges)]


def integers(draw: random.Random, size: int, low: int, high: int) -> list[str]:
    values = [0, 1, -1, low, high, *(draw.randrange(low, high) >> draw.randrange(size * 8 - 1) for _ in range(60))]
    return [value.to_bytes(size, "big", signed=True).hex() for value in values]


def floats(draw: random.Random, form: str) -> list[str]:
    size = struct.calcsize(form)
    drawn = [draw.randbytes(size).hex() for _ in range(400)]
    short = [round(draw.random() * 10 ** draw.randrange(9), draw.randrange(7)) for _ in range(200)]
    powers = [2.0**k for k in range(-126, 127, 5)] + [10.0**k for k in range(-37, 38)]
    edges = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 99999.0, 999999.0, 1e15, 999999999999999.0, 0.0001]
    wide = [5e-324, 1e23, 2.0**-44, 9007199254740993.0, 1.7976931348623157e308] if size == 8 else []
    return drawn + [struct.pack(form, value).hex() for value in (*short, *powers, *edges, *wide)]


def intervals(draw: random.Random) -> list[str]:
    def part(near: int, far: int) -> int:
        return draw.choice([0, 0, draw.randrange(-near, near), draw.randrange(-far, far)])

    return [struct.pack("!qii", part(10**8, 9 * 10**15), part(40, 2**31), part(40, 2**31)).hex() for _ in range(400)]


NUMERICS = ("0", "0.000", "1", "-1", "0.1", "-0.01", "10000", "9999.9999", "123456789012345678901234567890.12345678",
            "1e20", "1e-20", "99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001",
            "18446744073709551615", "100000000", "1.50", "-12345.6789", "0.0001", "0.00001")  # fmt: skip
TEXTS = ("", "plain", "é", "日本", "a b", "NULL", '"quoted"', "back\\slash", "{brace}", "a,b")
ARRAYS = {
    "_text": ("{}", "{a}", "{NULL}", '{"","NULL",null," a"}', '{"a\\"b","c\\\\d","{e}","f,g","h\ti"}', "{é,日本}"),
    "_int8": ("{}", "{1,NULL,-3}", "{9223372036854775807}"),
    "_int4": ("{0,-1}",),
    "_float8": ("{0.1,NaN,-Infinity,1e-05}",),
    "_bool": ("{t,f,NULL}",),
    "_timestamptz": ('{"2026-11-21 01:56:06.5+00",NULL,infinity}',),
    "_bytea": ('{"\\\\x00ff"}',),
    "_jsonb": ('{"{\\"a\\": 1}"}',),
    "_uuid": ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",),
}


def binary_values(draw: random.Random) -> dict[str, list[str]]:
    return {
        "int2": integers(draw, 2, -(2**15), 2**15 - 1),
        "int4": integers(draw, 4, -(2**31), 2**31 - 1),
        "int8": integers(draw, 8, -(2**63), 2**63 - 1),
        "oid": ["00000000", "00004000", "ffffffff"],
        "bool": ["00", "01"],
        "float4": floats(draw, "!f"),
        "float8": floats(draw, "!d"),
        "timestamp": instants(draw, 100),
        "date": integers(draw, 4, -2_451_545, 2_145_031_948)[:3]
        + [draw.randrange(-2_451_545, 3_000_000).to_bytes(4, "big", signed=True).hex() for _ in range(100)]
        + ["7fffffff", "80000000"],
        "time": [draw.randrange(86_400_000_001).to_bytes(8, "big").hex() for _ in range(50)]
        + [(86_400_000_000).to_bytes(8, "big").hex(), "00" * 8],
        "interval": intervals(draw),
        "bytea": ["", "00ff", bytes(range(256)).hex()],
    }


def text_values() -> dict[str, tuple[str, ...]]:
    return {
        "numeric": NUMERICS,
        "text": TEXTS,
        "varchar": TEXTS,
        "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",),
        "json": ('{"a": 1}', "[]", "1"),
        "jsonb": ('{"a": 1}', "[]", '"x"'),
        **ARRAYS,
    }


class Server:
    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._zone = ""

    def use_zone(self, name: str) -> None:
        if name != self._zone:
            self._connection.execute(f"set timezone to '{name}'".encode())
            self._zone = name

    def read(self, typname: str, value: bytes, *, binary: bool) -> tuple[str, str]:
        """The text and the binary form (hex) of a value given in either."""
        oid = psycopg.adapters.types[typname.lstrip("_")]
        wanted = oid.array_oid if typname.startswith("_") else oid.oid
        answers = []
        for code in (0, 1):
            result = self._connection.pgconn.exec_params(b"select $1", [value], [wanted], [int(binary)], code)
            if result.error_message:
                raise ValueError((result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode())
            answers.append(result.get_value(0, 0) or b"")
        return answers[0].decode(), answers[1].hex()


def make(dsn: str) -> None:
    draw = random.Random(15)
    server = Server(dsn)
    rows: list[tuple[str, str, str, str]] = []
    for typname, forms in binary_values(draw).items():
        rows += [(typname, "UTC", *server.read(typname, bytes.fromhex(form), binary=True)) for form in forms]
    for typname, texts in text_values().items():
        rows += [(typname, "UTC", *server.read(typname, text.encode(), binary=False)) for text in texts]
    for zone in ZONES:
        server.use_zone(zone)
        forms = instants(draw, 80)
        rows += [("timestamptz", zone, *server.read("timestamptz", bytes.fromhex(form), binary=True)) for form in forms]
    _write(VALUES, rows)
    rows = []
    for typname, zones, texts in INPUT_TEXTS:
        for zone in zones:
            server.use_zone(zone)
            for text in texts:
                try:
                    answer = server.read(typname, text.encode(), binary=False)[1]
                except ValueError as error:
                    answer = str(error)
                rows.append((typname, zone, text, answer))
    _write(INPUTS, rows)


def _write(path: object, rows: list[tuple[str, str, str, str]]) -> None:
    assert path in (VALUES, INPUTS)
    with open(str(path), "w") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    make(sys.argv[1])
