"""The cluster: who holds which ring location, and how a node's storage becomes the one store that SQL and ingest see.

Today's cluster has one node. It is a quorum of one: every ring location is its own, in epoch 1, and an op is committed
when it is on this node's disk. ``node.Node`` implements ``tsdb.model.store.Store``:

1. A write's points are cut by ring location: the bucket (5 minutes of one series) hashes to a place on its database's
   ring. Each location gets one op with the points of all series that fall into it.
2. ``storage`` logs the ops in one synced group, applies them and answers: then they are durable and visible.
3. A DELETE by time and tags becomes one op for each location whose interval holds a bucket in range; a DELETE of
   named points one for each location that holds some.
4. Schema changes, views, statistics and flushes go straight to the engine.

What comes with replication (``replication.md``): placement, epochs and leaders, the control plane, routing, transport.
"""
