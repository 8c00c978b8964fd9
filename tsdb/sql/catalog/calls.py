"""How DuckDB asks the catalog: three functions, by the type of their answers, over whole vectors.

``catalog_text(what, glance, a, b, text)``, ``catalog_number`` and ``catalog_flag`` take the name of a question, the
token of the statement's glance and up to three arguments. Each distinct question of a vector is answered once. The
names of questions come from ``functions`` alone, never from a user's text.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tsdb.errors import TsdbError
from tsdb.sql.catalog.live import Glance

# Stands in DuckDB's text for the token of the glance; ``values`` fills it in when the statement runs.
MARKER = "\x01catalog\x02"
ERROR_MARK = "tsdb-catalog:"

Answer = Callable[[Glance, int | None, int | None, str | None], Any]
ANSWERS: dict[str, Answer] = {}

_RESULTS = {"catalog_text": ("VARCHAR", pa.string()), "catalog_number": ("BIGINT", pa.int64()),
            "catalog_flag": ("BOOLEAN", pa.bool_())}  # fmt: skip
_ARGUMENTS = ["VARCHAR", "BIGINT", "BIGINT", "BIGINT", "VARCHAR"]


class Calls:
    """The glances of running statements, for the functions of one DuckDB instance. Thread-safe."""

    def __init__(self, create: Callable[..., Any], remove: Callable[[str], Any]) -> None:
        self._glances: dict[int, Glance] = {}
        self._tokens = itertools.count(1)
        self._remove = remove
        self._lock = threading.Lock()
        for name, (duckdb_type, arrow) in _RESULTS.items():
            create(name, self._function(arrow), _ARGUMENTS, duckdb_type, type="arrow", null_handling="special")

    def open(self, glance: Glance) -> int:
        """A token for a glance, until ``forget``."""
        with self._lock:
            token = next(self._tokens)
            self._glances[token] = glance
        return token

    def forget(self, token: int) -> None:
        with self._lock:
            self._glances.pop(token, None)

    def close(self) -> None:
        for name in _RESULTS:
            self._remove(name)

    def _function(self, arrow: pa.DataType) -> Callable[..., pa.Array]:
        def answer(what: Any, token: Any, a: Any, b: Any, text: Any) -> pa.Array:
            known: dict[tuple[Any, ...], Any] = {}
            answers = []
            for question in zip(*(x.to_pylist() for x in (what, token, a, b, text)), strict=True):
                if question not in known:
                    known[question] = self._answer(*question)
                answers.append(known[question])
            return pa.array(answers, arrow)

        return answer

    def _answer(self, what: str, token: int, a: int | None, b: int | None, text: str | None) -> Any:
        try:
            return ANSWERS[what](self._glances[token], a, b, text)
        except TsdbError as error:
            # DuckDB carries an exception's text only: ``duckdb_errors`` makes an error of it again.
            raise RuntimeError(f"{ERROR_MARK}{error.sqlstate}:{error.message}") from None
