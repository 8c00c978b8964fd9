"""The cluster: who holds which ring location, and how a node's storage becomes the one store that SQL and ingest see.

Nodes agree on schema, users and who leads what (``metadata.agreement``): a node by itself (``alone``), several among
themselves (``group``) or at an etcd (``etcd``). Points have one replica: a location's leader is a quorum of one, and an
op is committed when it is on that node's disk. ``node.Node`` implements ``tsdb.model.store.Store``:

1. A write's points are cut by ring location: the bucket (5 minutes of one series) hashes to a place on its database's
   ring. Each location gets one op with the points of all series that fall into it.
2. ``storage`` logs the ops in one synced group, applies them and answers: then they are durable and visible.
3. A DELETE by time and tags becomes one op for each location whose interval holds a bucket in range; a DELETE of
   named points one for each location that holds some.
4. What another node leads is refused, with its address, for reads as for writes (``led``).
5. A change of the schema or of a role is a command (``metadata``): logged, committed, and applied in the committer's
   thread of every node, to the catalog and to what follows in storage.
6. Views, statistics and flushes go straight to the engine.

What comes with replication: ``replication`` and ``placement`` driven by the records that are agreed on, routing.
"""
