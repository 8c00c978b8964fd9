"""tsdb.sql"""
