"""The systems that do the same work: one adapter each, behind one protocol.

    system = SYSTEMS["influxdb"]()
    system.missing()                  why it cannot run here ("not installed"), or None
    system.start(directory)           a fresh server on free loopback ports, its data below the directory
    system.load(dataset, way)         all points by one of `load_ways()`; seconds until all are acknowledged
    system.settle()                   until nothing is left to flush or merge; then `disk_bytes()` is meant
    client = system.connect()         one connection, for one thread
    run = client.compile(query, way)  the request, ready; `run()` fetches the whole result: this is what is timed
    client.answer(query, run())       the result in the form that is compared (not timed)
    system.stop()

What a system cannot do is said by `not_comparable(query)`, with the reason, in its adapter; what it gives beyond or
short of a query's answer is cut on both sides by `comparable(query, answer)`.
"""

from __future__ import annotations

from benchmarks.systems.adapter import Client, LoadWay, System
from benchmarks.systems.duckdb import DuckDb
from benchmarks.systems.influxdb import InfluxDb
from benchmarks.systems.postgres import Postgres
from benchmarks.systems.tsdb import Tsdb
from benchmarks.systems.victoriametrics import VictoriaMetrics

SYSTEMS: dict[str, type[System]] = {
    system.name: system for system in (Tsdb, DuckDb, Postgres, InfluxDb, VictoriaMetrics)
}

__all__ = ["SYSTEMS", "Client", "LoadWay", "System"]
