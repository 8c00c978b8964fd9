"""SQL: from a statement's text to Arrow batches. Knows no socket, no session and no storage engine.

Words: a *fragment* is one statement's text in a message of several; a *statement* is a parsed fragment; a *relation* is
what FROM names (a series, a CTE, a subquery, a function); a *bound* expression has a type and DuckDB's text; a *scan*
is one reading of one series; a *prepared* query knows its columns and parameters before it runs.

A statement flows like this:

1.  ``statement.split`` cuts a message into fragments by PostgreSQL's lexical rules (``lexer``).
2.  ``statement.parse`` names the statement: ``Select`` and ``Explain`` go through sqlglot (``dialect``), session and
    utility statements and DDL stay tokens, since sqlglot does not know many of them.
3.  ``Queries.prepare`` binds a query: the package ``bind`` resolves names in scopes (``relation``) and binds
    expressions to types by PostgreSQL's rules, with the tables of ``expressions`` (``coercion``, ``casts``,
    ``signature``, ``operators``, ``functions``). What comes out is DuckDB's text with generated names
    (t1 a scan, r1 a relation, c1 a column) and a tree of ``expression.Expr``. No text of the user ever reaches
    DuckDB, and no function that is not in our tables. Where DuckDB answers otherwise,
    ``macros`` and ``expressions.numerics`` say what PostgreSQL does, and the package ``computed`` what DuckDB
    cannot say at all.
    ``rows`` are row values, ``bind.sets`` functions that give rows, ``shown`` the texts of numerics.
4.  ``rules`` turn the ``plan`` into what each scan needs: columns, time range, tags, field bounds. The whole WHERE
    stays in the statement: pruning may only read too much, never decide. Plans are kept by text and catalog version,
    or by what is left of a text when those that it compares with are lifted out of it (``lifting``, ``templates``).
5.  ``Queries.run`` fills in parameters and now() (``values``, ``requests``), opens the scans on a ``View`` as Arrow
    streams (``stream``), runs the text on a cursor of the one ``instance`` and yields batches (``execution``) whose
    columns have exactly ``SqlType.arrow`` (numeric: decimal128 of any precision, or texts). ``duckdb_errors``
    gives errors their SQLSTATE. A cancel or a deadline interrupts both DuckDB and the scans.

What a session uses::

    queries = Queries(memory_limit_bytes=..., threads=2, spill_directory=path)     # one for the process
    for fragment in split(message):                  # SqlSyntaxError (unterminated strings); ``fragment.offset``
        statement = parse(fragment)                  # Select | Explain | Utility | Ddl | Insert | Delete | ...
        context = Context("tsdb", now_us=..., user="tsdb", settings={"timezone": "UTC"})
        prepared = queries.prepare(statement, context, catalog, parameter_types=[INT8, None])
        prepared.columns, prepared.parameters        # ResultColumn(name, type, typmod, ...); SqlType
        rows = queries.run(prepared, view, [41, "2026-01-01"], context)
        for batch in rows: ...                       # pa.RecordBatch; errors are TsdbErrors
        rows.cancel()                                # from any thread: the iteration raises QueryCanceled
        rows.close()                                 # always; releases the cursor and the scans, not the view

A parameter's value is None, a Python value (bool, int, float, Decimal, str, bytes, date, time, datetime, timedelta) or
the *text* of any type, which is read by that type's own rules. ``literal.read(type, text, context)`` reads such a
text (22P02, 22007, 22008); ``storage_form`` says in which form a value of a type is stored.

``limits`` bounds a statement's tokens, nesting, terms, joins and lists (54001); ``bind.literal_lists`` makes long IN
and VALUES lists relations of their own, and ``bind.distinct`` makes DISTINCT ON a window.

Relations about the system and the functions that look into them are the package ``catalog``.

What is written is the package ``dml``, COPY the package ``copy``, DDL's meaning the package ``ddl``.

What is not here: transactions and settings (``session``).
"""
