"""Blocks of long texts have few rows, since a query decodes a block's column at once."""

from __future__ import annotations

from tests.fixtures.server import Start
from tsdb.storage.block_writer import TEXT_BYTES_MAX


def test_blocks_are_cut_where_texts_are_long_and_keep_all_rows(start: Start) -> None:
    process = start()
    for body in range(8):
        lines = "".join(f'long,host=h{i} s="{chr(97 + i) * 500_000}",f={i} {body * 10 + i}\n' for i in range(10))
        assert process.write(lines)[0] == 204
    with process.connect() as connection:
        connection.execute("CHECKPOINT")
        rows = connection.execute("SELECT host, s, f FROM long ORDER BY time_ns").fetchall()
        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN ANALYZE SELECT s FROM long"))
    assert [(row[0], row[1][:3], len(row[1]), row[2]) for row in rows] == [
        (f"h{i}", chr(97 + i) * 3, 500_000, float(i)) for _ in range(8) for i in range(10)
    ]
    blocks = int(plan.split("Blocks: ")[1].split()[0])
    assert blocks >= 40_000_000 // (2 * TEXT_BYTES_MAX)
