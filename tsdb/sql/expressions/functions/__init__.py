"""The functions a statement may call: one table, by PostgreSQL's names. What is not here is 42883.

``scalar`` and ``datetimes`` hold functions of values, ``aggregates`` aggregates and window functions. Functions
whose result type or text needs more than a line (round to digits, extract, COALESCE …) are ``bind.special``'s.
"""
