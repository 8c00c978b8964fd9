"""Newest first: statements that need few rows of each group, in the order of time, read only those (design section 6).

``SELECT DISTINCT ON (tags) … ORDER BY tags, time DESC``, ``last(x, time)`` and ``max(time)`` by tags, ``ORDER BY time
DESC LIMIT n``, a LATERAL subquery with such an end, and ``SELECT DISTINCT tags``; oldest first as well.

1. ``path``: the way from a SELECT through views and subqueries that only rename to the one series it reads.
2. ``needs``: from a SELECT's ``Choice`` to what it needs of that scan (``tsdb.model.store.Newest``). The statement
   still runs as it is: of the rows that storage leaves out none could have been in the answer.
3. ``plan.FirstRows``: a statement that is nothing but a choice of rows of one series, bound to the scan's columns by
   ``first_rows``; ``execution`` answers it from the scan's rows without DuckDB.

The rule that ties them together is ``tsdb.sql.rules.newest_first``.
"""
