"""The simulator: a whole Raft group in one thread, driven by one seed.

``world`` has the nodes, the network between them, their disks and clocks, and clients; it drives the real core
(``tsdb.cluster.raft``), the real storage logic (``tsdb.storage.raft_log``, ``tsdb.cluster.raft_store``) over a disk
that loses what was not synced, and a state machine of registers. Everything that varies — limits, delays, odds of
faults — is drawn from the seed, so a seed is a run. After a time of faults the world heals and must make progress.

``checks`` looks at every step with an eye that sees all nodes and disks at once. ``histories`` judges what clients saw
of registers, ``linearizable`` by search what clients of the metadata saw (``record_client``). Snapshots go in pieces
that are cut anywhere (``carrier``).
``mutants`` are bugs put into the core on purpose, each of which must be found.
"""
