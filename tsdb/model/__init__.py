"""tsdb.model"""
