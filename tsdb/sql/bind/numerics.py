"""Functions of numerics whose result has the digits numeric.c gives it: sqrt, exp, ln, log, power, and of its scale.

Of integers and doubles they are double precision, as in PostgreSQL. Source: PostgreSQL 15 manual, 9.3 (table 9.5).
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tsdb.errors import UndefinedFunction
from tsdb.sql.bind.binder import Binder
from tsdb.sql.bind.calls import plain_call, special
from tsdb.sql.expressions import shown
from tsdb.sql.expressions.coercion import category, coerce
from tsdb.sql.expressions.expression import Expr, combine
from tsdb.sql.expressions.numeric_function import numeric_function
from tsdb.sql.expressions.relation import Scope
from tsdb.types import INT4, NUMERIC


def _register(name: str, computed: str, default: str) -> None:
    @special(name)
    def bind(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
        args = [binder.bind(a, scope) for a in arguments]
        known = {a.type.typname for a in args if not a.unknown}
        # log(base, x) has one form only: of numerics.
        numeric = "numeric" in known or (name == "log" and len(args) == 2)
        numeric = numeric and all(category(a.type) == "N" or a.unknown for a in args)
        if not numeric or known & {"float4", "float8"} or (name == "log" and len(args) == 1 and "numeric" not in known):
            return plain_call(binder, name, args)
        values = [coerce(a, NUMERIC, binder.context) for a in args]
        texts = [shown.text_of(v) for v in values]
        if len(texts) == 2 and name == "log":
            texts.reverse()  # log(base, x)
        if len(texts) > 2 or (len(texts) == 2 and name not in ("log", "power", "pow")):
            raise UndefinedFunction(f"function {name} with {len(args)} arguments does not exist")
        other = texts[1] if len(texts) == 2 else f"'{default}'"
        return numeric_function(computed, texts[0], other, tuple(values))


for _name, _computed, _default in (
    ("sqrt", "sqrt", "0"), ("exp", "exp", "0"), ("ln", "ln", "0"), ("log", "log", "10"), ("log10", "log", "10"),
    ("power", "power", "1"), ("pow", "power", "1"),
):  # fmt: skip
    _register(_name, _computed, _default)


def _numeric_argument(binder: Binder, name: str, arguments: list[exp.Expr], scope: Scope) -> Expr:
    if len(arguments) != 1:
        raise UndefinedFunction(f"function {name} with {len(arguments)} arguments does not exist")
    return coerce(binder.bind(arguments[0], scope), NUMERIC, binder.context)


@special("scale")
def scale(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    value = _numeric_argument(binder, "scale", arguments, scope)
    return combine(f"CAST(py_numeric_scale({shown.text_of(value)}) AS INTEGER)", INT4, "call", (value,))


@special("min_scale")
def min_scale(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    value = _numeric_argument(binder, "min_scale", arguments, scope)
    text = f"py_numeric_trimmed({shown.text_of(value)})"
    return combine(f"CAST(py_numeric_scale({text}) AS INTEGER)", INT4, "call", (value,))


@special("trim_scale")
def trim_scale(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    value = _numeric_argument(binder, "trim_scale", arguments, scope)
    return replace(value, shown=f"py_numeric_trimmed({shown.text_of(value)})", op="call", args=(value,))


@special("to_number")
def to_number(binder: Binder, arguments: list[exp.Expr], scope: Scope) -> Expr:
    made = plain_call(binder, "to_number", [binder.bind(a, scope) for a in arguments])
    return replace(made, shown=f"py_to_number({made.args[0].sql}, {made.args[1].sql})")
