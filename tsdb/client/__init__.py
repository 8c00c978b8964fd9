"""tsdb from Python: tables go in, query results come out, as Arrow batches over Arrow Flight.

    import tsdb.client

    with tsdb.client.connect() as db:
        db.write(frame, series="cpu", tags=["host"])                                    pandas, polars or pyarrow
        table = db.query("SELECT * FROM cpu WHERE host = $1", ["web-1"])                a pyarrow.Table
        frame = table.to_pandas()

A write returns when everything is on disk and visible to the next query. What is wrong is raised as the server's own
error (``tsdb.errors``), with its SQLSTATE, detail and hint. The page docs/python.md shows all of it.

- ``connection``: ``connect`` and ``Client``.
- ``tables``: data frames to record batches.
- ``parameters``: Python's values to the texts that a statement's parameters are sent as.
- ``failures``: what Flight raises to the server's errors.

It needs a server with Arrow Flight on (``flight_port``) and imports nothing of the server but its errors.
"""

from tsdb.client.connection import Client, Result, connect

__all__ = ["Client", "Result", "connect"]
