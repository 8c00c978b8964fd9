"""tsdb.server"""
