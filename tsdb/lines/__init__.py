"""Line protocol without HTTP: a stream over TCP, datagrams over UDP. Both are off unless they have a port.

Neither can be answered line by line, so what each does with what it cannot store is its contract:

- ``tcp``: bytes are cut into whole lines (``tsdb.ingest.stream``) and stored in the order they came. While a write
  waits for the disk or for memory nothing more is read, so the client waits too: back-pressure instead of answers.
  Lines that are wrong are logged, with their client, and counted. A client that wants to know begins with a comment
  line (``command``),

      # tsdb: producer=NAME batch=N [db=NAME] [precision=ms]

  then what it sends up to ``# tsdb: end`` is one numbered batch, answered by one line, a status as HTTP has it and a
  text; sent again it is stored once. Without ``producer`` the line chooses database and precision alone.
- ``udp``: datagrams are collected by number and by time and stored together. Nothing waits: what comes while too much
  is under way is dropped and counted, and so is what the kernel had no room for.

``writer`` is what both have in common: the store, as whom they write, and what is tried again. There are no passwords
here: only clients that need none are served (``tsdb.model.access``), unless a role is named that all others write as.
"""
