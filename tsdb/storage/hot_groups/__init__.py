"""Hot groups and hot rows: an aggregate of few rows, or the rows themselves, by passes of kernels over hot columns.

What a dashboard asks for (an hour of one host, some fields of eight hosts) is a few hundred rows of each of a dozen
blocks. To read them as batches takes an array for each block and column, then each is added to the groups by calls of
its own: a millisecond of Python around ten microseconds of work. Here one kernel goes over the blocks' lines
(``tsdb.storage.hot``), finds each wanted tag set's rows, cuts them at the borders of buckets and adds each stretch to
its group's statistics.

1.  ``survey``: which blocks and runs of the head have wanted rows, about how many; whether a tag set's lie between
    each other.
2.  ``lines``: the addresses of those blocks' columns, kept from query to query; missing columns become hot now. A run
    of the head has lines, too: its columns lie there as they are.
3.  ``groups``, by the kernel ``gather``; or ``rows``, by the kernels ``find`` (those within bounds) and ``fill``.

It is not done (None is given, and the scan goes on as any other) where rows have to be judged one by one: with
tombstones, parts in which a tag set of a keyed series may have one time twice, absent values, a type that was changed;
and where there are so many rows that summaries, or columns block by block, are the shorter way.
"""
