"""The cluster: who holds which ring location, and how a node's storage becomes the one store that SQL and ingest see.

Today's cluster has one node. It is a quorum of one: every ring location is its own, in epoch 1, and an op is committed
when it is on this node's disk. ``node.Node`` implements ``tsdb.model.store.Store``:

1. A write's points are cut by ring location: the bucket (5 minutes of one series) hashes to a place on its database's
   ring. Each location gets one op with the points of all series that fall into it.
2. ``storage`` logs the ops in one synced group, applies them and answers: then they are durable and visible.
3. A DELETE by time and tags becomes one op for each location whose interval holds a bucket in range; a DELETE of
   named points one for each location that holds some.
4. A change of the schema or of a role is a command of the metadata group (``metadata``), of which this node is the only
   voter: logged, committed, and applied in the committer's thread, to the catalog and to what follows in storage.
5. Views, statistics and flushes go straight to the engine.

What comes with replication (``replication.md``): a group of more than one node, placement, epochs and leaders that
something follows from, routing.
"""
