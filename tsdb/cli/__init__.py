"""tsdb.cli"""
