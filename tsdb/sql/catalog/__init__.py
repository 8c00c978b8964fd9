"""pg_catalog and information_schema as relations that can be queried, and the functions that look into them.

Words: the *static* part is what every PostgreSQL 15 says about itself (types, functions, operators), captured as
data; the *live* part is made of our own catalog when a query reads it. An *outline* is our catalog as PostgreSQL would
number and name it: entries for tables, views, indexes, sequences, constraints. A *glance* is an outline with what one
statement's session adds (settings, user, sizes).

1.  ``static`` reads the captured part, ``capture`` writes it from a running PostgreSQL 15 (``python -m
    tsdb.sql.catalog.capture CONNINFO``).
2.  ``outline`` makes entries of databases, series, views and sequences; ``oids`` numbers them.
3.  ``live`` holds, for each relation with live rows, what its rows are and how each column is made of one
    (``live_*`` modules); ``relations.find`` puts both parts together, only for the columns that a query reads.
4.  ``names`` turns names into OIDs and back (reg* types); ``definitions`` writes what pg_get_…def() answer.
5.  ``calls`` lets DuckDB ask them: one function for each kind of answer, over whole vectors, each distinct question
    answered once. ``signatures`` lists the SQL functions, ``functions`` answers.

What is left out: statistics of values (pg_stats), locks, plans of views, collations of the machine. Such relations are
there with their columns and have no rows.
"""
