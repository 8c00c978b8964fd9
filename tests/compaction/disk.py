"""What lies on a node's disk, compared with its index."""

from __future__ import annotations

from collections.abc import Mapping

from tsdb.cluster.node import Node
from tsdb.storage import keys
from tsdb.storage.block import SEQUENCE_COLUMN, TIME_COLUMN
from tsdb.storage.summaries.encode import LAYOUT


def strays(node: Node) -> Mapping[str, set[tuple[int, ...]]]:
    """By family, the keys of values without a block, and those of blocks without a value. Empty sets are good."""
    shard = node.engine._shard
    headers = [header for blocks in shard.version.blocks.values() for header in blocks.headers]
    columns: set[tuple[int, ...]] = {
        (header.series, column, header.block_id)
        for header in headers
        for column in (TIME_COLUMN, SEQUENCE_COLUMN, *header.columns)
    }
    summaries: set[tuple[int, ...]] = {
        (header.series, column, header.block_id)
        for header in headers
        if header.summary_span
        for column in (LAYOUT, *filter(header.has_summary, header.columns))
    }
    expected: dict[str, set[tuple[int, ...]]] = {
        "blocks": {(header.series, header.window, header.block_id) for header in headers},
        "runs": {(header.series, header.block_id) for header in headers},
        "columns": columns,
        "summaries": summaries,
    }
    unpack = {
        "blocks": keys.unpack_block_key, "runs": keys.unpack_runs_key, "columns": keys.unpack_column_key,
        "summaries": keys.unpack_summary_key,
    }  # fmt: skip
    return {
        family: {unpack[family](key) for key, _ in shard.rocks.scan(family)} ^ wanted
        for family, wanted in expected.items()
    }


NO_STRAYS: Mapping[str, set[tuple[int, ...]]] = {name: set() for name in ("blocks", "runs", "columns", "summaries")}
