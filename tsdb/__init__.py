"""tsdb: a SQL time-series database that speaks the PostgreSQL wire protocol and takes InfluxDB line protocol.

ARCHITECTURE.md draws the floors and tells the life of a write and of a query; docs/glossary.md holds the words.
"""

__version__ = "0.1.0"
