"""The command line: ``tsdb start``, ``demo``, ``sql``, ``import``, ``export``, ``user`` and ``settings``.

- ``app``: the commands and ``main``, the one place that turns an error into a line on standard error and an exit code:
  2 for wrong settings or usage, 1 for anything else that stops it, 0 for an orderly end.
- ``start``: the server in the foreground. Its flags are made from the table in ``tsdb.config``.
- ``demo``: an embedded server, an hour of machine metrics (``metrics``), and what to do with them.
- ``sql``: statements on any PostgreSQL port, one after the other or from a prompt.
- ``transfer``: files into a running server and out of it.
- ``settings``: the table of settings as text or Markdown.

Modules of the lower floors are imported inside the commands: ``tsdb --help`` does not load a database, and the kernel
cache must have its place before ``tsdb.kernels`` is imported.
"""

from tsdb.cli.app import main

__all__ = ["main"]
