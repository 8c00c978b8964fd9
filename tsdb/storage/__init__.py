"""tsdb.storage"""
