"""The transport between nodes: its core by bytes, its edges by real sockets and processes."""
