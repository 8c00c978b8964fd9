"""Bound expressions and what they are bound by: relations, coercion, casts, signatures, operators, functions.

``expression`` is a type with DuckDB's text; ``relation`` and ``rows`` are what columns belong to; ``coercion`` and
``signature`` choose types and functions as PostgreSQL does; ``numerics`` and ``shown`` keep numeric's digits.
"""
