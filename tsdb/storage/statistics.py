"""Sizes of one series, from the index of blocks and the heads."""

from __future__ import annotations

from tsdb.model.store import Block, SeriesStatistics
from tsdb.storage.head import rows_of
from tsdb.storage.version import SeriesBlocks, Version


def statistics_of(version: Version, series: int) -> SeriesStatistics:
    """What this node holds of a series."""
    headers = version.blocks.get(series, SeriesBlocks()).headers
    runs = version.runs(series)
    column_bytes: dict[int, int] = {}
    for header in headers:
        for number, stats in header.columns.items():
            column_bytes[number] = column_bytes.get(number, 0) + stats.bytes
    tagsets = version.tagsets.get(series)
    earliest = [header.min_time for header in headers] + [run.min_time for run in runs]
    latest = [header.max_time for header in headers] + [run.max_time for run in runs]
    return SeriesStatistics(
        rows=sum(header.rows for header in headers) + rows_of(runs),
        bytes=sum(header.value_bytes for header in headers),
        blocks=len(headers),
        tagsets=0 if tagsets is None else tagsets.size,
        min_time_ns=min(earliest, default=None),
        max_time_ns=max(latest, default=None),
        column_bytes=column_bytes,
    )


def blocks_of(version: Version, series: int) -> list[Block]:
    """A series' blocks, by time."""
    return [
        Block(
            header.block_id,
            header.min_time,
            header.max_time,
            header.min_tagset,
            header.max_tagset,
            header.rows,
            len(header.columns),
            header.unique,
            header.value_bytes,
            header.summary_bytes,
        )
        for header in version.blocks.get(series, SeriesBlocks()).headers
    ]
