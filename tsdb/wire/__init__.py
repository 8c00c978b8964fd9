"""tsdb.wire"""
