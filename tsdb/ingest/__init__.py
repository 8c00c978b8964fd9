"""tsdb.ingest"""
