"""Replication of a ring location: how its replicas keep one op log. A pure core: no I/O, clock, thread or chance.

Read ``replica.Replica`` first, then ``ready.Ready``. One who drives a node's replicas does this for ever:

1. **Feed** them: ``tick`` as time passes, ``step`` for each message that arrived, ``learn`` for what the metadata say,
   ``write``, ``read`` and the like for clients.
2. **Drain** them: while ``has_ready``, take a ``Ready`` and do what it says in the order of its fields. Batches of many
   replicas are written and synced together (group commit); ``advance`` tells each that its batch is durable. Nothing
   that rests on a batch leaves before: it is not there to be sent.

Life of a write. The leader looks whether the batch is in the log already, by (client, batch, hash interval)
(``writing``, ``producers``), appends what is not, sends it (``leader``), and each follower appends after a matching op,
syncs, acknowledges (``follower``). What a majority of the epoch's voters has on disk is committed: it is applied, and
the write is answered as soon as it is as safe as it asked to be (``waiting``): 0, 1, n, a quorum, all.

Life of an epoch. The metadata assign it to a leader and a set of voters (``record``). The leader fences a majority of
the *active* epoch's voters, takes over the best log among them, and appends a barrier; when that is on a majority of
the *new* voters the metadata activate the epoch, and only then anything is committed or answered in it (``takeover``).
Failover, planned move (``moves``) and change of voters are this one thing. Logs are compared by epoch vectors
(``vector``); ops are truncated only by an op of a later epoch in their place (``log``), and their writers can ask what
became of them (``Replica.confirm``).

End of a location. A split or a merge is an op, the seal, after which nothing is written; when it is committed each
replica retires and the next locations begin from what it is (``seals``). Reads of four levels are in ``reading``,
the comparison of replicas at markers is in ``digests``.

Broken invariants, I1 to I13 of the design's 2.12, are assertions or are checked by ``tests/sim_replication``. Not here:
transport, disk, points, the metadata themselves, and who decides where replicas are. Nothing serves from it yet: a
single node logs its ops itself (``tsdb.storage``).
"""
