"""Line protocol in, points out.

A request body flows through here as follows:

 1. ``lineprotocol.split`` cuts a large body at line borders outside strings, so that parts can be parsed in parallel.
 2. ``kernel.walk`` goes over the bytes once, compiled and without the GIL. A line becomes a *row*: the number of its
    series key, its time, its range of the body. A field becomes a *value*: row, number of its key, kind, 64 bits.
    ``kernel_lines`` knows where lines and strings end, ``kernel_names`` gives each distinct name a number (those of
    earlier bodies have theirs already: ``lexicon``), ``kernel_numbers`` reads numbers exactly. A bad line leaves a
    fault and nothing else; the next line is read.
 3. ``kernel_columns`` sorts rows by measurement and values by field and kind, by counting.
 4. ``lineprotocol.parse`` decodes what is distinct: tag keys, field keys, errors (``faults``, in InfluxDB's words).
    Series keys stay in columns (``serieskey``). Result: ``Parsed``, with a columnar ``Lines`` for each measurement.
 5. ``bind.missing`` compares it with a database's schema and says which series, tags and fields must be added. Only
    then does a write wait for the metadata.
 6. ``bind.bind`` makes ``Points`` of the lines that fit the schema (``kernel_tags`` writes their tag sets by value,
    ``convert`` widens integers) and errors of the others.
 7. ``write.submit`` does all of that with a store: parse, make the schema, bind, hand the points on. Every edge that
    takes line protocol goes through it: HTTP (``tsdb.http``), TCP and UDP (``tsdb.lines``).
 8. ``hints`` keeps numbered batches on this node's disk while nobody leads their database, and sends them through 7.

Words: a *series key* is measurement and tags as written; a *name* is a series key, measurement, tag key or field key
as written; a *kind* is ``tsdb.types.Kind``. Nothing per row or series key happens in Python.

What is accepted is the table of the design's ingest chapter, whose recommendation wins over any server's behaviour.
Three rules decide where servers differ:

- A newline ends a line except inside a string field; a string is only one if a separator follows its closing quote.
  Hence an unbalanced quote costs its own line and no other, and text inside a good string never becomes a point, not
  even when another field of its line is bad.
- A comma, blank or equals sign is escaped by one backslash right before it; in strings, quotes and backslashes are.
- An error belongs to one line. The list of errors is capped, their count is exact.

Not done here: sockets, decompression, answers, and where points go (``tsdb.storage``).
"""
