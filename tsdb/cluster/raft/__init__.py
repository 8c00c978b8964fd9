"""Raft: how the nodes of the metadata group agree on one log. A pure core: no I/O, clock, thread or chance.

Read ``node.Node`` first, then ``ready.Ready``. One who drives a node (a process, the simulator) does this for ever:

1. **Feed** it: ``tick`` as time passes, ``step`` for each message that arrived, ``propose``, ``read_index``.
2. **Drain** it: while ``has_ready``, take a ``Ready`` and do what it says in the order of its fields — write hard
   state, entries and snapshot in one synced batch, *then* send the messages that follow from it, apply what is
   committed — and call ``advance``.

Life of a proposal: a follower passes it on to its leader (``forwarding``: its body travels once). The leader appends it
(``leader``, ``replication``), sends it to each member as that member's ``progress`` allows, and counts its own copy
only when it is on disk, like everybody's. What a majority has (``quorum``) is committed, and applied on every node in
the order of the log. Who falls behind the log's beginning gets a snapshot.

Life of a leader: who hears none for an election's time asks whether it would win (pre-vote), then campaigns
(``candidate``). Who hears a leader votes for nobody else; a leader whom no majority answers steps down (check-quorum).
The configuration itself is changed by entries, jointly where more than one voter changes (``changes``, ``membership``).
Reads ask the majority instead of the log (``reads``), or the leader's lease while clocks agree.

Followers of the log that are no members (``clients``) get what is committed from any member. ``clock_check`` says
whether leases may be used and whose clock must not lead. ``events`` tells every
term, vote and leadership with its cause. Broken invariants are assertions: terms and commit indexes never fall, one
vote a term, committed entries are never replaced, snapshot and log have no hole between them.

Sources: Ongaro's thesis ("Consensus: Bridging Theory and Practice", 2014) by section; behaviour is held to the public
interaction scripts of etcd-io/raft, with messages as types of their own. Not here: transport, files, the meaning of
commands.
"""
