"""The composition root: it builds the parts of one server, starts them in order and stops them in reverse.

- ``server``: ``Server``. Start: data directory, query engine, SQL listener, HTTP. Stop: the listeners first, so that
  nothing new comes in and what runs can end, then queries, then the data with everything flushed.
- ``web``: uvicorn on the server's own event loop.
- ``streams``: the listeners of TCP and UDP (``tsdb.lines``), each if it has a port.
- ``arrow``: Arrow Flight (``tsdb.flight``), on loopback by default.
- ``warm``: loads (the first time: compiles) the kernels in the background, by a write and a query on scratch data.
- ``logs``: structured logs on standard error.
- ``embedded``: a server in a thread, for the demo and for tests.

What is not here: settings (``tsdb.config``), signals and exit codes (``tsdb.cli``), and any decision about data.

Two thread pools do the blocking work, bounded each: one parses and stores writes, one runs statements. The event loop
only moves bytes between sockets and cores.
"""

from tsdb.server.embedded import EmbeddedServer
from tsdb.server.server import Server

__all__ = ["EmbeddedServer", "Server"]
