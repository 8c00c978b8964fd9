"""``tsdb import`` and ``tsdb export``: files in, files out, through the server's own ports.

A file that is imported is cut into *pieces* whose borders depend on nothing but its content. Piece n is numbered batch
n of a producer that the file's *journal* names from its first piece to its last. Whoever imports the same file again
after an interruption doubles nothing: what was answered is skipped, what was on its way is known to the server.

    files     which files, of which format; their bytes without gzip or zstd
    pieces    a file's pieces: line protocol at line borders, CSV and Parquet as Arrow batches
    send      a piece to the server: lines over HTTP, rows by COPY; what passes is tried again
    job       all pieces of all files: journals, progress, what went wrong in which file
    export    a table or query to CSV, Parquet (partitioned, too) or line protocol, as it streams
    line_text Arrow batches as line protocol
"""
