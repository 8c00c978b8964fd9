"""Hints: numbered batches that wait at the node that took them, on its disk, while nobody could store them.

A client asks for that (``X-Tsdb-Queue``), since a batch that waits is acknowledged before anybody sees it. The parts:

- ``text``: a hint's file: one comment line that says whose it is, then the lines as they were sent.
- ``queue.HintQueue``: which hints there are, in which order they go, how many there may be; it makes them durable step
  by step over a ``disk.Disk``, so that a crash between any two steps leaves a hint there or not, and never half.
- ``disk.Folder``: these steps on a real disk.
- ``delivery``: whether a body may be queued (``examine``), and one try to store a hint (``deliver``), by the same way
  that bodies come over HTTP (``tsdb.ingest.write.submit``), with the number that its client gave it.

What makes exactly one write of all this is the number: the client's first try, its retries at any node, and the node's
tries before and after a crash are one batch of one producer, which the op logs take once. A hint's file is removed when
its batch is stored, and not before. What can never be stored as it is stays, as a file that is *refused* (its lines can
be read, mended and sent again), until an operator removes it.
"""
