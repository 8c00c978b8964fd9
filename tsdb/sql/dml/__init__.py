"""What is written: INSERT, UPDATE, DELETE and TRUNCATE prepare a ``modification``, which then runs.

``joined`` is its FROM or USING, ``new_keys`` the move of rows, ``conflict`` and ``upsert`` ON CONFLICT, ``returning``
its result, ``constant_rows`` and ``to_points`` the way of values to points, ``serial`` columns that count,
``compound`` several modifications in one statement, of which ``merge`` is one. ``unique``
refuses rows that meet others in a reference table, ``keys`` are those of points.
"""
