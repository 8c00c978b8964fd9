"""How nodes talk to each other: framed messages over TCP with mutual TLS.

Between two nodes there are up to four connections: each dials for what it sends, one connection for control and one for
the log, so that a heartbeat never waits behind a snapshot and there is no question whose connection it is.

1. **Dial** (``dialer``): TCP, then TLS in which both show a certificate of the cluster's authority. Who cannot be
   reached is dialed again, later and later (``backoff``), or at once when it dials this node itself.
2. **Greet** (``greeting``): both say cluster, number, uuid and name, and which protocol versions they speak. What does
   not fit is refused with a text that names both; a node that lost its data is a stranger under its old number.
3. **Send** (``connection``): a message is cut into frames, each with its checksum. The receiver has promised room for
   so many bytes and promises more when its owner has taken what came (credit): neither side holds more than it said.
4. **Watch**: each side pings; who is silent for too long is gone, and its connection with it. The answers tell the
   round trip, and how far apart the clocks are.

Who is no member may be a **guest** (``guests``): it shows a certificate of the authority like everybody, may follow
what is committed and do nothing else, and is answered over its own connection. A node that wants to join speaks another
protocol, the operator's (``tsdb.cluster.group.control``). Connections of which nobody knows yet whose they are, are
few, and who stalls is pushed out by who comes (``strangers``).

Two kinds of messages between members. **Raft's** (``codec``) may be lost, doubled and reordered: what does not fit into
the bounded queue is dropped and counted, and the core hears that its peer is unreachable. A **stream**, for snapshots
and the op log, waits for room instead; within one stream nothing is lost or reordered, and when its connection ends the
stream ends on both sides.

``frames``, ``greeting``, ``connection``, ``codec``, ``backoff``, ``queue`` and ``strangers`` are pure: bytes and
instants in, bytes and events out. ``link`` pumps one connection, ``outbox`` has what waits for it, ``dialer`` and
``listener`` own sockets, ``transport`` is what a node starts. Not here: what a message means, who is a member
(``Transport.set_members`` is told), what joining takes. Layout of the bytes: docs/format/transport.md.
"""
