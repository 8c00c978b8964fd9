"""Rows between nodes: the fragments of scans, asked for and answered over Arrow Flight with mutual TLS.

A fragment is one DoExchange. Its descriptor is the question (``RunScan`` in an ``Ask``); each message that comes back
has an envelope as its metadata, and a batch where it has one: ``Part`` (with no batch: it is being worked on), and
``Answer`` at the end, with what was counted or what went wrong (docs/format/transport.md).

- ``listener``: answers, in threads of gRPC's; the scan itself is ``routing.fragment``.
- ``channels`` and ``fetch``: ask. A thread takes what comes, and waits while too much of it is not read.
- ``fragments``: both, with the port and certificates that are exchanged when they change.

All else that nodes say to each other goes in frames (``transport``), and so do fragments of and for a node that cannot
be reached here: one of an older version, or one behind a firewall. Who a peer is its certificate says, as there; that a
node is gone is known there first (``Exchange.lost``), and ends what is fetched from it.

Sources: Arrow's Flight RPC format (DoExchange); ``pyarrow.flight``'s reference; gRPC's channel arguments.
"""
