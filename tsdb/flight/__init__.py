"""Arrow Flight: tables go in and results come out as Arrow record batches, without text between.

A call passes through like this:

1. gRPC's own threads call ``listener.Listener``, the one module that knows ``pyarrow.flight``. It reads who calls
   (``bearer`` gives tokens to those who show a password at the handshake) and what is asked for (``requests``).
2. ``DoGet``: ``reading`` runs the statement as a ``tsdb.session.Direct`` on the server's event loop: the same turns,
   budget, timeouts, privileges and pg_stat_activity as over the SQL port. ``columns`` gives its batches the types
   that Arrow's users expect. The next batch is computed when gRPC has taken the last one: that is the back-pressure.
3. ``DoPut``: ``writing`` takes batch after batch. ``placing`` finds or makes the columns of the series (schema on
   write, as line protocol does it), ``points`` makes a batch's points. A batch is stored as a whole or not at all,
   durable before it is acknowledged; the first one that is refused ends the stream, and the error says how many rows
   stay.
4. ``calls`` knows what runs: it bounds how much that is, cancels the statements of clients that are gone, and ends all.
   Errors carry SQLSTATE, detail and hint as JSON (``requests.extra_of``).

What is not here: who may log in (``tsdb.http.authentication``, handed in by ``tsdb.server``), SQL (``tsdb.session``),
the Python client (``tsdb.client``, which runs elsewhere).

One bound is missing: gRPC reads a message before anybody here sees it, and pyarrow lets no limit be set for that. What
is larger than ``message_bytes_max`` is refused when it is there, and what dictionaries make of a small one (``sizes``).
"""
