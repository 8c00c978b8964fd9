"""Storage: one node's points, durable in RocksDB, readable as Arrow batches.

Words: an *op* is one change to a ring location, an *op log* its ordered changes; a *version* of a point is one write of
it; the *head* holds recent versions in memory; a *block* is an immutable run of versions of one series and 2-hour
window on disk; a *tombstone* is a DELETE that reads honour; a *version of the data* is what one query reads.

A write flows like this (``engine`` is the way in, ``cluster`` cuts by location before):

1. The caller's thread encodes one op body for each location (``body``), and queues the write (``committer``), waiting
   while heads and queue are full.
2. The committer takes all that waits as one group. ``group`` checks each append as a whole (an append is one or more
   writes and deletions, all or none), ``unchanged`` whether rows that a statement saw still are what they were,
   ``producers`` whether a numbered batch is a retry; ``log`` gives op sequences and counters and stamps headers
   (``op``); one RocksDB batch with one sync (``rocks``) makes the group durable. The first failure ends the process.
3. The ops are applied (``apply``): tag sets become ids (``tagsets``), rows are sorted (``merge``) into runs of the live
   head and folded as in a log-structured merge tree (``head``); a DELETE becomes tombstones (``tombstone``).
4. The next ``version`` of the data is published by one assignment; then writers get their answers.
5. A head that is large or old is frozen. The ``flusher`` writes its blocks with their summaries (``flush``, ``block``,
   ``codec``, ``summaries``): values first, unsynced; then the committer makes headers, tag sets, producers, tombstones
   and the flushed positions durable in one batch (``install``), swaps blocks for head, and drops the ops.

A read: ``view`` holds a version and its moment (``moments``); parts (head runs and blocks, ``part``) are chosen by
time, tag sets and bounds on fields (``field_bounds``), gathered by window (``windows``), and selected by row ranges
(``selection``). Parts that overlap nothing pass straight; where they overlap (``overlap``), what tombstones hide goes
first (``visibility``, by ``rules`` and ``hidden_keys`` that are kept between reads), then versions of equal keys are
merged (``scan``, ``merge``), and batches leave (``batches``). A scan for an aggregate first takes what it can from the
blocks' summaries (``summary_scan``), and reads the other rows. A scan of some intervals of the ring judges all of these
by the buckets that their times are in (``buckets``).

A start: ``recovery`` loads the index, deletes what a crash left unfinished, and replays the op logs from the flushed
positions, each op checked by number and by the chain of hashes.

Everything that changes belongs to the committer's thread and needs no lock; everything a reader holds is immutable.
Merge, selection, overlap and visibility are pure. Only ``rocks`` touches the disk.

``compaction`` merges blocks and gives back the space of what is deleted; a view keeps what it reads.

Not here: which locations there are and who has them (``cluster``), what a statement means (``sql``).
"""
