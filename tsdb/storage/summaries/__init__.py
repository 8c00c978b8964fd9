"""Bucket summaries: what aggregates need to know of a block's points without reading them (design section 5).

Words: a *span* is a length of time, five minutes, an hour or a day, cut from 1970 on; a *cell* is the rows of one tag
set of a block that lie in one span, neighbours in the block; a *statistic* is one number of each cell.

A block that has enough rows in its cells (``layout.choose_span``) carries, beside its columns,

- a *layout*: tag set, rows, first and last time of each cell, and
- for each column of int8 or float8 its statistics (``measure``): count, sum, squared deviations, min, max, the first
  and the last row's value.

Both are ``packed``: each statistic as offsets from its least number, in as many bytes as the largest needs, so that one
kernel unpacks hundreds of blocks at once. They are written with the block (``encode``), and kept by ``cache`` once they
were read and found whole.

A scan for an aggregate (``tsdb.storage.summary_scan``) uses a cell when its rows are all visible, all wanted and all in
one bucket of the query; the rows of all other cells are read.
"""
