"""Copies: the visible points of some locations at one moment, for a node that has none of them.

A copy is logical: tag sets by value, points with their sequences, the fields in their present kinds. What a tombstone
hides is not in it, so tombstones are not either: those to come have higher counters. ``sending`` makes the *chunks* of
a copy from a view; ``arriving`` makes blocks of them, which nobody sees until they are installed by one batch of the
committer's, all or none; ``leaving`` takes the points of a database from a node that has no replica of it any more,
``masking`` those of some of its locations.

Who is to have which copy, and what else is in that batch, ``tsdb.cluster.replicas`` knows. Chunks: docs/format/copy.md.
"""
