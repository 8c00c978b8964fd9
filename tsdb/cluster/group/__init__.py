"""The group: several nodes that agree on the metadata by Raft, as one of them runs it. Read ``group.Group`` first.

Life of a node in it:

1. **Come in** (``joining``): a new directory makes up a uuid, asks any member over TLS to be one (``control``), is told
   its number and the others' addresses, and gets the metadata as a snapshot. A restarted one knows all that already.
2. **Run** (``group``): a thread of its own with an event loop for the Raft member (``raft_driver``) and the connections
   (``transport``), so that nothing that a statement does holds up a heartbeat. Log and hard state are written in one
   more thread; commands are applied in the thread of the engine's committer (``applying``), between two groups of ops,
   so that the catalog changes there and nowhere else.
3. **Propose** (``proposer``): an action is numbered in this life's client session, passed on to the leader, and sent
   again under its number when leaders change: it counts once. It is answered when this node has applied it.
4. **Lead** (``supervisor``): the leader decides who votes (``voters``, pure): nodes up to the fifth, and a learner that
   has caught up in the place of a voter that is lost. Only decisions are commands.

An operator speaks to any node on the same port, with a certificate of the cluster (``operator``); ``recovering`` makes
a cluster of the one node that is left. Not here: what commands mean (``tsdb.cluster.metadata``), where points are.
"""
