"""The replicas of a node: the core of replication (``tsdb.cluster.replication``) over this node's disk and connections.

A *shared* database is one whose logs are such as several nodes can have: made with a replication factor above one, or
made such when it was to get more replicas or to move (``Ring.shared``). Each of its locations has a log that its voters
have, and what is in it becomes points when a majority of them has it on disk, be that one node. One that a node has for
itself becomes shared there, before anything of it goes elsewhere (``sharing``).

Life of a write. ``shared.Shared`` is asked at the node that leads, gets the ops' bodies from the caller's thread, and
hands them to ``host.Host`` in the committer's thread, where the replicas are. The host feeds their cores and drains
them in *turns*: messages leave, what is committed is applied to the head and becomes visible
(``tsdb.storage.decoded``), writers are answered, then the batches of all replicas are one batch with one sync
(``disk``), and what waited for that goes on. A turn ends when nothing is left to be done, so between two turns all that
is applied is on this node's disk, and a head can be frozen.

A follower applies what its leader says is committed. An op says which version of the schema it was made under; who does
not know that yet waits with it, and with all that replica has to say, until the metadata have come.

What goes between nodes: ``packets``. What the core asks of the metadata, and who assigns the next epoch when a leader
is lost: ``requests`` and ``failover`` (``leads``), pure; ``driver`` is the part of it on the group's event loop.

Who has a database changes while it is used (``moving``, pure): a node that has nothing of it asks its leader for a copy
of all points (``copying``, over ``tsdb.storage.copies``), which is installed with what its locations were at that time
in one batch, follows the log, which is kept for that (``pins``), and votes. A replica that has points and cannot catch
up any more leaves; what leaves, and when another one may begin there, is ``left``.

What replicas have is compared at markers (``marks``, ``comparing``): one that differs from a majority leaves, and comes
again.

What is asked for and is not here is refused, and docs/operating.md says so.
"""
