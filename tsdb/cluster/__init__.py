"""tsdb.cluster"""
