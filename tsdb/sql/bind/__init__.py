"""The binder: sqlglot's trees to bound expressions and DuckDB's text, by PostgreSQL's rules.

``binder`` holds the state and the dispatch, one function per kind of node; ``query``, ``select`` and ``from_clause``
bind whole queries and resolve names in scopes; the other modules bind one family of expressions each. What a bound
expression is, and the tables of types, casts, operators and functions, are ``tsdb.sql.expressions``.
"""
