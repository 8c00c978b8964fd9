"""Plans of statements whose texts were lifted: one for all that differ in them alone.

Whether the plan with parameters is a statement's own is not believed but looked at, once for each template: bound as
it stands and bound with parameters, the statement must have the same columns, rules and sources and, with its values
filled in, the same text for DuckDB. If not (a text chose the function, the width of a bucket or the type), its kind is
planned text by text. What a text cannot be read as is found by planning the statement as it stands, too: with
the right error at the right place.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from tsdb.errors import TsdbError
from tsdb.sql.context import Context
from tsdb.sql.statement import LiftedSelect, Select
from tsdb.sql.values import RunValues
from tsdb.types import REFERENCES

if TYPE_CHECKING:
    from tsdb.sql.query import Prepared

CACHED_TEMPLATES = 512


class Templates:
    """Templates by their text and all else that a plan depends on. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Prepared | None] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable, statement: LiftedSelect, context: Context) -> Prepared | None:
        """The plan of a statement; None when it has to be planned as it stands."""
        with self._lock:
            found = self._known.get(key)
            if found is None:
                return None
            self._known.move_to_end(key)
        try:
            values = RunValues(found.plan.parameters, statement.texts, context).given
        except TsdbError:
            return None
        return found.with_lifted(values)

    def learn(
        self,
        key: Hashable,
        statement: LiftedSelect,
        made: Prepared,
        context: Context,
        prepare: Callable[[Select], Prepared],
    ) -> None:
        """Plan the template of a statement, unless that was tried before. ``made`` is the statement's own plan."""
        with self._lock:
            if key in self._known:
                return
        template: Prepared | None = None
        with contextlib.suppress(TsdbError):
            planned = prepare(statement.template)
            if _alike(made, planned, statement.texts, context):
                # What each of its runs asks, and copies of it have then.
                _ = planned.reads_texts, planned.computes, planned.pace, planned.widens
                template = planned
        with self._lock:
            self._known[key] = template
            while len(self._known) > CACHED_TEMPLATES:
                self._known.popitem(last=False)


def _alike(made: Prepared, template: Prepared, texts: tuple[str, ...], context: Context) -> bool:
    parameters = template.plan.parameters
    if len(parameters) != len(texts) or made.parameters or template.columns != made.columns:
        return False
    types = [parameter.type for parameter in parameters]
    if any(each is None or (each.element or each) in REFERENCES for each in types):
        return False
    if template.viewed != made.viewed or template.uses != made.uses or template.plan.rules != made.plan.rules:
        return False
    filled = RunValues(parameters, texts, context).fill(template.plan.sql)
    return filled == RunValues((), (), context).fill(made.plan.sql)
