"""What the database is about: series, columns, points, time and buckets. No I/O, no clock, no thread.

- ``time``: nanoseconds, microseconds, buckets and windows, by floor.
- ``schema``: databases, series and columns as immutable values with numbers given once, and the changes to them.
- ``points``: a columnar batch of points of one series, and tag sets by value.
- ``ring``: the hash of a bucket, the ring map, and the cut of a batch into the ring's locations.
- ``store``: what the floors above ask of the data: scans, writes, deletions, schema changes.

A batch of points flows like this: ``ingest`` or ``sql`` make ``Points`` (columns by number), ``ring.cut`` cuts them by
ring location, ``storage`` encodes each part as an op, logs it and applies it; a scan gives Arrow batches back.
"""
