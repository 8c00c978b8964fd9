"""DDL's meaning: from tokens to schema changes. Nothing here changes anything; ``tsdb.session`` applies the plans.

``statement`` is the door; one module reads each family of statements with the reader of ``plan``.
"""
