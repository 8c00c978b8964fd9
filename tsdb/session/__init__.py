"""tsdb.session"""
