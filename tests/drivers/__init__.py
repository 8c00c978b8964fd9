"""Drivers of other languages: one program each (``programs/``) does what a user does in the first ten minutes.

It prints a line for each finding, once on a real PostgreSQL 15 and once on tsdb, and the lines must be equal.
"""
