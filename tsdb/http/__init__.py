"""tsdb.http"""
