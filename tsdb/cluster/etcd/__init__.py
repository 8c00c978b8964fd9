"""etcd as the place where the metadata is agreed on, for those who run it already. Read ``agreement`` first.

The state machine (``tsdb.cluster.metadata``) is the same as over the embedded group; only who orders the commands is
another. Life of a command: its sender catches up with the log, appends it as the next number in one transaction
(``log``, ``layout``), and applies it (``replica``); the others hear of it by a watch, read what they have not seen, and
apply that. A command that rests on anything older is not appended, so there is no leader that commands have to pass.

What has to be decided by one node (that somebody is silent, that the log is to be cut) is decided by the
*coordinator*, who holds a key by a lease (``coordinator``).

etcd is spoken to over its JSON gateway (``gateway``, ``messages``, ``connection``, ``tls``) with Python's own HTTP
client: the few requests that there are need no library more. Every request may be sent twice, so any member can be
asked again when an answer is lost.

What operators ask is in ``operator``. A node's start is in ``joining``; which log its data directory follows, in
``directory``. Only ``connection`` knows sockets. Format: docs/format/etcd.md.
"""
