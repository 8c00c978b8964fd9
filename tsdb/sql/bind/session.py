"""Functions about sessions, as DuckDB calls them: see ``session_calls``."""

from __future__ import annotations

from sqlglot import exp

from tsdb.errors import UndefinedFunction
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import plain_call, special
from tsdb.sql.expressions.coercion import coerce, constant
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.relation import Scope
from tsdb.sql.session_calls import CHANCE, FUNCTION
from tsdb.types import BOOL, BY_NAME, FLOAT8, INT4, INT8, TEXT, VOID, SqlType

_KEYS = ((INT8,), (INT4, INT4))

# Name → the types of its arguments, by their number, and its result.
_FUNCTIONS: dict[str, tuple[tuple[tuple[SqlType, ...], ...], SqlType]] = {
    "set_config": (((TEXT, TEXT, BOOL),), TEXT),
    "pg_notify": (((TEXT, TEXT),), VOID),
    "pg_notification_queue_usage": (((),), FLOAT8),
    "pg_cancel_backend": (((INT4,),), BOOL),
    "pg_terminate_backend": (((INT4,), (INT4, INT8)), BOOL),
    "pg_reload_conf": (((),), BOOL),
    "setseed": (((FLOAT8,),), VOID),
    "confirm_write": (((TEXT,),), TEXT),
    **{f"inet_{side}_addr": (((),), BY_NAME["inet"]) for side in ("client", "server")},
    **{f"inet_{side}_port": (((),), INT4) for side in ("client", "server")},
    "pg_advisory_unlock_all": (((),), VOID),
    **{f"pg_advisory_{kind}lock{shared}": (_KEYS, VOID)
       for kind in ("", "xact_") for shared in ("", "_shared")},
    **{f"pg_try_advisory_{kind}lock{shared}": (_KEYS, BOOL) for kind in ("", "xact_") for shared in ("", "_shared")},
    **{f"pg_advisory_unlock{shared}": (_KEYS, BOOL) for shared in ("", "_shared")},
}  # fmt: skip


def call(binder: Binder, name: str, arguments: list[Expr], result: SqlType) -> Expr:
    """A call of the session; ``arguments`` are texts by now."""
    items = ", ".join(a.sql for a in arguments)
    sql = f"{FUNCTION}({binder.context.backend_pid}, '{name}', CAST([{items}] AS VARCHAR[]))"
    if result in (BOOL, INT4):
        sql = f"CAST({sql} AS {'BOOLEAN' if result is BOOL else 'INTEGER'})"
    return combine(sql, result, "call", tuple(arguments), name=name, stable=False)


def as_text(binder: Binder, argument: exp.Expr, target: SqlType, scope: Scope) -> Expr:
    return coerce(coerce(binder.bind(argument, scope), target, binder.context), TEXT, binder.context)


def _bind(name: str) -> None:
    signatures, result = _FUNCTIONS[name]

    @special(name)
    def bound(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
        types = next((each for each in signatures if len(each) == len(arguments)), None)
        if types is None:
            raise UndefinedFunction(
                f"function {name} with {len(arguments)} arguments does not exist",
                hint="No function matches the given name and argument types.",
            )
        if not types and result is FLOAT8:
            return constant(FLOAT8, 0.0)
        texts = [as_text(binder, a, t, scope) for a, t in zip(arguments, types, strict=True)]
        return call(binder, name, texts, result)


for _name in _FUNCTIONS:
    _bind(_name)


@special("random")
def random(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    if arguments:
        return plain_call(binder, "random", [binder.bind(a, scope) for a in arguments])
    sql = f"{CHANCE}({binder.context.backend_pid})" if binder.context.session is not None else "random()"
    return Expr(sql, FLOAT8, stable=False)


@special("current_setting")
def current_setting(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    if len(arguments) not in (1, 2):
        raise UndefinedFunction(f"function current_setting with {len(arguments)} arguments does not exist")
    name = binder.bind(arguments[0], scope)
    value = binder.context.settings.get(name.value.lower()) if isinstance(name.value, str) else None
    if value is not None:
        return constant(TEXT, value)
    texts = [as_text(binder, a, t, scope) for a, t in zip(arguments, (TEXT, BOOL), strict=False)]
    return call(binder, "current_setting", texts, TEXT)
