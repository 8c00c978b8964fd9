"""The simulator of the data plane: nodes that host replicas of several locations, driven by one seed.

``world`` has time and the network; ``node`` is a process that drives the real replicas (``tsdb.cluster.replication``)
over one disk that they share and that loses what was not synced; ``metadata`` is a small model of what the control
plane decides, by compare-and-set; ``operator`` reassigns, moves, splits, merges and wipes as it likes; ``client``
writes numbered batches until they are answered; ``reader`` reads at all levels. Everything that varies is drawn from
the seed. After a time of faults the world heals, and everybody must be served and be equal.

``checks`` looks at every step with an eye that sees all nodes and disks at once, for the invariants I1 to I13 of the
replication design. ``mutants`` are bugs put in on purpose; ``schedules`` are directed runs, one for each rule.
"""
