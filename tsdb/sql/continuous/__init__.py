"""Continuous views: an aggregate of one series by buckets of time, stored piece by piece and always right.

Words: the *source* is the series that is aggregated, the *stored* part of a view the rows of its buckets before the
*watermark*; a bucket is *dirty* when its rows in the source changed after it was stored.

1.  ``definition`` looks at the query of CREATE MATERIALIZED VIEW … WITH (continuous): which expression is the bucket,
    whether every row's part in the result depends on that row and nothing else (no joins, no clock, no time zone of a
    session), and reads the options.
2.  ``tsdb.sql.bind.continuous`` binds the view in FROM as the stored rows UNION ALL the query itself, each with a
    ``Source.part``.
3.  When a statement runs, ``reading`` decides by the view of the data which spans of time each of the two reads: clean
    buckets from what is stored; dirty ones, and all from the watermark on, from the source. So the answer is the plain
    query's, whatever has been refreshed.
4.  ``tsdb.session.continuous`` computes dirty and new buckets and stores them.

What is dirty is not recorded anywhere: ``Progress`` has the counter of the source's versions that the stored rows show,
and the store finds what came later (``tsdb.storage.changes``). Rows are written first and the progress after them, so a
crash between the two leaves buckets that are computed once more. In a replicated database one node refreshes, all agree
on how far that has come, and a bucket is dirty, too, if its stored rows came later (``tsdb.cluster.refreshing``).

History: a bucket that begins before the source's floor (retention) is never computed again. Its stored rows stay as
they were, whatever is deleted or written in the source, until the view's own retention takes them. The floor of a
source waits until its views have stored what it takes away.

Not here: how the store finds changes, and joins, DISTINCT, windows and HAVING in the view's query (make a view over the
continuous view).
"""
