"""Byte-mutation fuzz: mutated bodies through the product's parser and through the reference, which must agree.

Also a program, for runs under bounds checks: ``TSDB_BOUNDSCHECK=1 python -m tests.ingest.fuzz SEED LINES``. It first
makes sure that bounds checks are on, by a canary kernel that must raise IndexError.
"""

from __future__ import annotations

import os
import random
import sys

import numpy as np
import numpy.typing as npt

from tests.ingest import reference
from tests.ingest.points import points_of
from tsdb.ingest.faults import Limits
from tsdb.ingest.lineprotocol import parse
from tsdb.kernels import kernel

SEEDS = (
    b"cpu,host=a,region=eu usage=58i,idle=4.25 1451606400000000000\n",
    b"cpu,host=b,region=eu usage=59i,idle=4.5 1451606400000000000\ncpu,host=a,region=eu usage=57i,idle=1e3\n",
    b'log,app=x message="one\ntwo \\"three\\" \\\\ four",level=3u -1\r\nlog,app=y message="",ok=t\n',
    b"# comment\n\n \t\nmy\\ m\\,x,ta\\ g=v\\=1,b=\\,\\  f\\=1=True,g=F,h=false,i=TRUE 7 \n",
    b'm f=1.,g=.5,h=-1e-3,i=17976931348623157e292,j=1e400,k=9223372036854775807i,l=18446744073709551615u\nm f="a\n',
    'größe,ort=Köln wert="µ€𝄞",ä=0.1\n'.encode(),
    b'm,a=1,b=2 x=1,y=2,z=3 1\nm,b=2,a=1 x=1,y=2,z=3 2\nm,a=1 b=2\nm,time=1 f=1\nm f=1,f=2\nm f=bad,g="\nm g=1\n"\n',
)
TOKENS = (
    b",", b"=", b" ", b"\n", b"\r", b"\r\n", b'"', b'="', b'",', b"\\", b"\\\\", b'\\"', b"\\ ", b"\\,", b"\\=", b"\t",
    b"\0", b"\x01", b"#", b"i", b"u", b"-", b".", b"e", b"E+", b"0", b"9", b"1", b"t", b"F", b"true", b"\xff", b"\xc3",
    b"\xed\xa0\x80", b"\xc3\xa4", b" f=1", b",f=1", b" f=1 1\n", b"m f=1\n", b"9223372036854775807",
    b"18446744073709551616", b"1e308", b"123456789012345678901", b"time", b"sequence", b"_field",
)  # fmt: skip
LIMITS = (
    Limits(),
    Limits(line_bytes_max=60, key_bytes_max=24, name_bytes_max=7, string_bytes_max=12, fields_max=2, tags_max=1),
    Limits(key_bytes_max=200, name_bytes_max=255, fields_max=3, tags_max=2, errors_max=2),
)


def mutated(rng: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """One to three seeds in a row with up to eight edits; of ten bodies one has up to sixty, and as many edits more."""
    count = rng.randint(1, 3) if rng.random() < 0.9 else rng.randint(4, 60)
    body = bytearray(b"".join(rng.choice(seeds) for _ in range(count)))
    for _ in range(rng.randint(0, max(8, 2 * count))):
        at = rng.randint(0, len(body))
        span = rng.choice((0, 0, 1, 1, 2, 5, 20))
        match rng.randrange(5):
            case 0:
                body[at : at + span] = rng.choice(TOKENS)
            case 1:
                del body[at : at + span]
            case 2:
                body[at : at + span] = bytes([rng.randrange(256)])
            case 3:
                source = rng.randint(0, len(body))
                body[at:at] = body[source : source + rng.randint(0, 30)]
            case 4:
                del body[max(at, 1) :]  # what reads on at the end of the body reads outside
    return bytes(body)


def check(body: bytes, *, precision: str = "ns", factor: int = 1, limits: Limits, require_time: bool = False) -> None:
    """Raises AssertionError where parser and reference differ, or what it knows of bodies before disturbs it."""
    parsed = parse(body, precision=precision, now_ns=1_234_567_890, limits=limits, require_time=require_time)
    again = parse(
        body, precision=precision, now_ns=1_234_567_890, limits=limits, require_time=require_time, recall=True
    )
    assert points_of(again) == points_of(parsed), body
    assert (again.errors, again.error_count) == (parsed.errors, parsed.error_count), body
    expected = reference.parse(body, factor=factor, now_ns=1_234_567_890, limits=limits, require_time=require_time)
    assert points_of(parsed) == expected.points, body
    assert parsed.error_count == len(expected.bad), body
    assert [error.line_number for error in parsed.errors] == expected.bad[: limits.errors_max], body


def run(seed: int, lines: int, seeds: tuple[bytes, ...] = SEEDS) -> None:
    """Check bodies until they had so many lines."""
    rng = random.Random(seed)
    limits = LIMITS[0]
    while lines > 0:
        if rng.random() < 0.1:
            limits = rng.choice(LIMITS)
        precision, factor = rng.choice((("ns", 1), ("ns", 1), ("ms", 1_000_000), ("h", 3_600_000_000_000)))
        body = mutated(rng, seeds)
        check(body, precision=precision, factor=factor, limits=limits, require_time=rng.random() < 0.1)
        lines -= len(body.split(b"\n"))


def run_truncated(seeds: tuple[bytes, ...] = SEEDS) -> None:
    """Every beginning of every seed, as it is and with one byte more that changes what follows it."""
    for seed in seeds:
        for end in range(len(seed) + 1):
            for more in (b"", b"\\", b'"', b"\r", b"-", b"e", b"\xf0"):
                check(seed[:end] + more, limits=LIMITS[0])


@kernel
def canary(values: npt.NDArray[np.int64], at: int) -> int:
    """Reads where it is told, even outside: under bounds checks that is an IndexError."""
    return int(values[at])


def main() -> None:
    if os.environ.get("TSDB_BOUNDSCHECK") == "1":
        try:
            canary(np.arange(4), 4)
        except IndexError:
            print("the canary raised IndexError")
        else:
            raise SystemExit("bounds checks are not on: the canary read outside its array")
    run_truncated()
    run(int(sys.argv[1]), int(sys.argv[2]))
    print(f"{sys.argv[2]} lines agreed")


if __name__ == "__main__":
    main()
