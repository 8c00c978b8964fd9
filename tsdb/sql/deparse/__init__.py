"""Queries and expressions printed as PostgreSQL prints them: pg_get_viewdef, pg_get_constraintdef, pg_get_expr.

PostgreSQL keeps what it analysed, not what somebody wrote, and prints that: columns with their tables, casts where the
analysis put them, constants as their types write them. So a text goes three ways here:

1.  sqlglot's tree → ``nodes``: ``queries`` and ``scope`` say what names mean, ``expressions`` and ``calls`` choose
    operators and functions by PostgreSQL's own tables (``resolution``, over pg_proc, pg_operator and pg_cast as they
    were captured), ``coercion`` puts casts, ``constants`` reads and writes literals.
2.  Ranges get names that no other range in reach has (``naming``).
3.  ``write_queries`` and ``write_expressions`` write the nodes, pretty or not, with PostgreSQL's line breaks.

``definitions`` is the way in. What is not known here is ``Unprintable``: then the user's own text is the answer. That
is a FULL JOIN's merged columns, grouping sets, rows as values, SIMILAR TO, TABLESAMPLE, and what PostgreSQL does not
have (ASOF JOIN, FILL).

Source: PostgreSQL 15, ruleutils.c (printing), parse_expr.c, parse_coerce.c, parse_func.c, parse_oper.c (analysis).
"""
