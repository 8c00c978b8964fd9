"""Compaction: blocks become fewer and better ones, and what is deleted gives its space back (design section 5).

Words: a *task* is some blocks of one series and span that are merged, or go as they are, for one reason; a *round* is
tasks that are carried out with one swap; a *tile* is what a merge holds in memory at once; a *retired* block is one
that only older versions of the data have.

One thread (``compactor``) does it, in the background or because somebody asks (VACUUM):

1. ``schedule`` looks at the series of which something has changed, ``plan`` says which of their blocks are to be merged
   and why: below retention's floor, wholly deleted, overlapping, spread over each other, with versions to be merged,
   with tombstones to be carried out, with columns that are dropped, or small. It knows headers only.
2. ``merge`` reads the blocks of a task tile by tile (``tiles``): what tombstones hide goes first, version by version,
   then versions of equal keys are merged, but not across a held moment (invariant 17). New blocks are written as a
   flush writes them (``tsdb.storage.block_writer``), at a ``pace`` that leaves room for others.
3. ``swap`` puts new headers in the place of old ones in the committer's thread, with one synced batch; tombstones that
   no block needs any more go with it. After a crash the old blocks are there or the new ones; recovery deletes the
   values of the others.
4. ``retired`` deletes the values of old blocks when no view reads them any more.

``history`` remembers what was done, for metrics and system views.

Interrupted it may be at any time: what is not swapped is given up.
"""
