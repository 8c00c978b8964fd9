"""Metadata: what the nodes of a cluster must agree on, as a state machine over Raft's log.

Read ``commands`` (what can be done), then ``machine`` (what becomes of it). What there is are *records*: the schema
with users and grants, which is ``tsdb.model``'s catalog as it is, and beside it members, rings, location records and
client sessions (``records``).

Life of a command: somebody decides something and encodes it (``commands``; a change of the schema by ``packing``), with
the records as he had seen them. Raft appends it and commits it. Every node hands its bytes to ``machine.apply`` at the
same index, gets the same answer, and writes the same records (``durable``: in the batch that says that the index is
applied). The proposer gets the answer, and watchers are told what changed (``watch``). A client's command that comes
again is answered as it was the first time (``clients``).

``members``, ``rings`` and ``locations`` carry out actions on a draft of the next state (``state``), which is taken
whole or, by an error, not at all. ``soft`` is what a leader hears of the nodes and is not logged.

Who agrees, and how, is behind ``agreement``: a node by itself as a group of one (``group_of_one``), or several. Schema
and users are served from here, members are talked to, a location's leader alone answers for it, and client sessions
make a node's commands count once. Rings beyond a database's first map, assigned epochs, intents and soft state are
agreed on and kept as they should be, and nothing acts on them before points are replicated.

Rules: nothing here knows a clock, chance, a thread or a socket; time comes with commands. An error of ``tsdb.errors``
is a refusal and the same everywhere; a command that cannot be read stops the node, since others could read it.

Formats: docs/format/group.md.
"""
