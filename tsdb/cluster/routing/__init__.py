"""Routing: any node takes any write and any query; what another node leads is done there, at most one hop away.

Its words: the node that a client speaks to *asks*, the one that leads a location *answers*. Life of a question:

1. **Cut** (``shares``, pure). A write's parts, cut by location already, are put together by the node that leads them;
   the effects of a COMMIT are taken apart by the node of each point.
2. **Send** (``exchange``). A question has a number and a body (op bodies as they are logged, Arrow); it goes over the
   log stream between the two nodes. It was sent, or it was not; without an answer nobody knows what became of it. The
   answer is a reply, or the error that the other node would have told its own client.
3. **Answer** (``answering``). The asked node looks whether it leads what it is asked for (``NotLeader`` otherwise, with
   who does by its knowledge: maps may be old on either side), and does it as if it were its own client's.
4. **Combine** (``router``). All parts acknowledged is done; anything else is an error that says which part is where.

Reads: ``scatter.ScatterView`` is a view of all nodes; a scan asks those that lead locations with buckets in its range.
Conditions on columns, tags, time, the newest rows and summary cells travel (``conditions``), batches and cells come
back over Arrow Flight (``tsdb.cluster.fragments``) or, where that cannot be, as Arrow IPC (``arrow``) in a stream with
credit: ``remote`` reads either, ``fragment`` is what runs at the other node. Each of these nodes may have what another
one answers for: its scan is then restricted to intervals of the ring (``map``).

Tag sets travel by value: ids are a node's own. Series and columns travel by number: the schema is the cluster's, and
who is asked by a newer one than it knows catches up first.
"""
