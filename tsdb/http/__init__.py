"""The HTTP edge: line protocol in, health and metrics out. Queries go over the PostgreSQL port.

A write flows like this: ``request`` reads parameters and the body (bounded, decompressed),
``tsdb.ingest.write`` stores it, on the event loop if that is short and in a worker thread otherwise, and ``answers``
says what happened in the words of the API that was called: InfluxDB 1 (``/write``), 2 (``/api/v2/write``) or 3
(``/api/v3/write_lp``). Success is 204 and means durable and visible. When some lines are bad the good ones are stored
before the answer goes out, since the clients will not come back with them (docs: line protocol in docs/operating.md).

- ``app``: routes. ``writes``: the short way of writes, and what runs where. ``head``: what they need of a head.
- ``request``: parameters of a write per API, content encodings, limits.
- ``body``: how a body comes into memory, within limits.
- ``pace``: which bodies are stored on the event loop.
- ``together``: small and middling writes of many clients as one.
- ``answers``: outcome or error → status and JSON, per API.
- ``influxql``: the few statements clients send to ``/query`` when they start.
- ``guard``: which Host and Origin an open loopback port accepts.
- ``metrics``: counters for Prometheus.
"""
