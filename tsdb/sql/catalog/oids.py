"""OIDs of our objects: from 16384 on, derived from the catalog's numbers, so that they stay for as long as the object.

A number has a block of eight OIDs: the object itself, then what PostgreSQL would make beside it. Numbers of columns
are counted apart, and so are their defaults' OIDs, from 2³⁰ on.
"""

from __future__ import annotations

from tsdb.model import enums
from tsdb.model.relations import TEMPORARY

FIRST_OWN = enums.FIRST_OID
_BLOCK = enums.OIDS_PER_NUMBER
_ROW_TYPE = 1
_ARRAY_TYPE = 2
_INDEX = 3
_CONSTRAINT = 4
_RULE = 5
_FIRST_DEFAULT = 1 << 30
# Above all others' blocks: by the number of the session's backend.
_FIRST_TEMPORARY = 1 << 28

PG_CATALOG = 11
PUBLIC = 2200
PG_TYPE = 1247
PG_ATTRIBUTE = 1249
PG_PROC = 1255
PG_CLASS = 1259
PG_AUTHID = 1260
PG_DATABASE = 1262
PG_ATTRDEF = 2604
PG_CONSTRAINT = 2606
PG_NAMESPACE = 2615
PG_REWRITE = 2618
PG_EXTENSION = 3079

HEAP = 2
BTREE = 403
DEFAULT_COLLATION = 100


def of(number: int) -> int:
    """A relation, index, constraint, namespace, type or label."""
    return FIRST_OWN + number * _BLOCK


def row_type(number: int) -> int:
    return of(number) + _ROW_TYPE


def array_type(number: int) -> int:
    return of(number) + _ARRAY_TYPE


def row_type_of(relation: int) -> int:
    """Of a table or view, by the OID of the relation."""
    return relation + _ROW_TYPE


def array_type_of(relation: int) -> int:
    return relation + _ARRAY_TYPE


def key_index(number: int) -> int:
    """The index of a table's PRIMARY KEY, or of a UNIQUE constraint."""
    return of(number) + _INDEX


def key_constraint(number: int) -> int:
    return of(number) + _CONSTRAINT


def rule(number: int) -> int:
    return of(number) + _RULE


def temporary_number(schema: str) -> int:
    """The number, for ``of``, of the schema of a session's temporary relations."""
    return _FIRST_TEMPORARY + int(schema.removeprefix(TEMPORARY))


def is_temporary(namespace: int) -> bool:
    return namespace >= of(_FIRST_TEMPORARY)


def default(column: int) -> int:
    return _FIRST_DEFAULT + column


def database(number: int) -> int:
    return FIRST_OWN + number
