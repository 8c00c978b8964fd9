"""Functions and operators of json and jsonb. Source: PostgreSQL 15 manual, 9.16; jsonfuncs.c, jsonb_op.c.

``binary`` says that a text is jsonb's: then what comes out is canonical too.
"""

from __future__ import annotations

from typing import Any

from tsdb.errors import InvalidParameterValue
from tsdb.sql.computed.json_text import canonical, compact, elements, members, parse, quote, sort_key, write
from tsdb.sql.computed.registry import computed


def _step(text: str, key: str) -> str | None:
    """One step into a value: a key of an object, an index of an array."""
    first = text.lstrip()[:1]
    if first == "{":
        return dict(members(text)).get(key)
    if first != "[":
        return None
    try:
        index = int(key)
    except ValueError:
        return None
    found = elements(text)
    return found[index] if -len(found) <= index < len(found) else None


def _shown(text: str | None) -> str | None:
    """``->>``: strings without quotes, null as NULL."""
    if text is None or text == "null":
        return None
    return str(parse(text)) if text.startswith('"') else text


@computed("py_json_member", "VARCHAR", "VARCHAR", "BOOLEAN", result="VARCHAR")
def member(text: str, key: str, as_text: bool) -> str | None:
    """``->`` and ``->>`` of a key."""
    if text.lstrip()[:1] != "{":
        return None
    found = _step(text, key)
    return _shown(found) if as_text else found


@computed("py_json_element", "VARCHAR", "BIGINT", "BOOLEAN", result="VARCHAR")
def element(text: str, index: int, as_text: bool) -> str | None:
    """``->`` and ``->>`` of an index."""
    if text.lstrip()[:1] != "[":
        return None
    found = _step(text, str(index))
    return _shown(found) if as_text else found


@computed("py_json_at", "VARCHAR", "VARCHAR[]", "BOOLEAN", result="VARCHAR")
def at_path(text: str, path: list[str | None], as_text: bool) -> str | None:
    """``#>`` and ``#>>``."""
    found: str | None = text
    for key in path:
        if key is None or found is None:
            return None
        found = _step(found, key)
    return _shown(found) if as_text else found


@computed("py_jsonb", "VARCHAR", result="VARCHAR")
def to_jsonb(text: str) -> str:
    return canonical(text)


@computed("py_json", "VARCHAR", result="VARCHAR")
def to_json(text: str) -> str:
    parse(text)
    return text


@computed("py_json_typeof", "VARCHAR", result="VARCHAR")
def type_of(text: str) -> str:
    first = text.lstrip()[:1]
    return {"{": "object", "[": "array", '"': "string", "t": "boolean", "f": "boolean", "n": "null"}.get(
        first, "number"
    )


@computed("py_json_length", "VARCHAR", result="BIGINT")
def array_length(text: str) -> int:
    kind = type_of(text)
    if kind != "array":
        raise InvalidParameterValue(f"cannot get array length of a {'scalar' if kind != 'object' else 'non-array'}")
    return len(elements(text))


def contains(outer: Any, inner: Any) -> bool:
    """``@>``: containment of objects, arrays as sets, an array's element by a scalar at the top."""
    if isinstance(outer, dict) and isinstance(inner, dict):
        return all(k in outer and _inside(outer[k], v) for k, v in inner.items())
    if isinstance(outer, list) and isinstance(inner, list):
        return all(any(_inside(o, i) for o in outer) for i in inner)
    if isinstance(outer, list) and not isinstance(inner, dict):
        return any(_equal(o, inner) for o in outer)
    return _equal(outer, inner)


def _inside(outer: Any, inner: Any) -> bool:
    if isinstance(outer, list) and not isinstance(inner, list):
        return False
    return contains(outer, inner)


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


@computed("py_jsonb_contains", "VARCHAR", "VARCHAR", result="BOOLEAN")
def jsonb_contains(outer: str, inner: str) -> bool:
    return contains(parse(outer), parse(inner))


@computed("py_jsonb_has", "VARCHAR", "VARCHAR", result="BOOLEAN")
def has_key(text: str, key: str) -> bool:
    """``?``: a key of an object, a string of an array, or the string itself."""
    value = parse(text)
    if isinstance(value, str):
        return value == key
    return isinstance(value, dict | list) and key in value


@computed("py_jsonb_concat", "VARCHAR", "VARCHAR", result="VARCHAR")
def concat(left: str, right: str) -> str:
    a, b = parse(left), parse(right)
    if isinstance(a, dict) and isinstance(b, dict):
        return write({**a, **b})
    return write([*(a if isinstance(a, list) else [a]), *(b if isinstance(b, list) else [b])])


@computed("py_jsonb_without", "VARCHAR", "VARCHAR[]", result="VARCHAR")
def without(text: str, keys: list[str | None]) -> str:
    value = parse(text)
    if isinstance(value, dict):
        return write({k: v for k, v in value.items() if k not in keys})
    if isinstance(value, list):
        return write([v for v in value if not (isinstance(v, str) and v in keys)])
    raise InvalidParameterValue("cannot delete from scalar")


@computed("py_jsonb_without_index", "VARCHAR", "BIGINT", result="VARCHAR")
def without_index(text: str, index: int) -> str:
    value = parse(text)
    if not isinstance(value, list):
        raise InvalidParameterValue(
            f"cannot delete from {'object using integer index' if isinstance(value, dict) else 'scalar'}"
        )
    at = index if index >= 0 else len(value) + index
    return write([v for i, v in enumerate(value) if i != at])


def _changed(value: Any, path: list[str], new: Any, mode: str) -> Any:
    """A value with the place at ``path`` set, inserted ("before", "after") or deleted."""
    if not path or not isinstance(value, dict | list):
        return value
    key, rest = path[0], path[1:]
    if isinstance(value, dict):
        return _changed_object(value, key, rest, new, mode)
    try:
        index = int(key)
    except ValueError:
        raise InvalidParameterValue(f'path element at position 1 is not an integer: "{key}"') from None
    at = index if index >= 0 else len(value) + index
    made = list(value)
    if 0 <= at < len(made):
        if rest:
            made[at] = _changed(made[at], rest, new, mode)
        elif mode == "delete":
            del made[at]
        elif mode in ("set", "replace"):
            made[at] = new
        else:
            made.insert(at if mode == "before" else at + 1, new)
    elif not rest and mode in ("set", "before", "after"):
        made.insert(0 if at < 0 else len(made), new)
    return made


def _changed_object(value: dict[str, Any], key: str, rest: list[str], new: Any, mode: str) -> Any:
    made = dict(value)
    if rest:
        if key in made:
            made[key] = _changed(made[key], rest, new, mode)
    elif mode == "delete":
        made.pop(key, None)
    elif mode in ("before", "after"):
        if key in made:
            raise InvalidParameterValue("cannot replace existing key", hint="Try using the function jsonb_set to "
                                        "replace key value.")  # fmt: skip
        made[key] = new
    elif mode == "set" or key in made:
        made[key] = new
    return made


@computed("py_jsonb_changed", "VARCHAR", "VARCHAR[]", "VARCHAR", "VARCHAR", result="VARCHAR")
def changed(text: str, path: list[str | None], new: str, mode: str) -> str:
    """jsonb_set (modes set, replace), jsonb_insert (before, after), ``#-`` (delete)."""
    keys = [k for k in path if k is not None]
    return write(_changed(parse(text), keys, parse(new) if new else None, mode))


@computed("py_json_keys", "VARCHAR", "BOOLEAN", result="VARCHAR[]")
def keys_of(text: str, binary: bool) -> list[str]:
    if type_of(text) != "object":
        raise InvalidParameterValue(f"cannot call json{'b' if binary else ''}_object_keys on "
                                    f"{'an array' if type_of(text) == 'array' else 'a scalar'}")  # fmt: skip
    found = [k for k, _ in members(text)]
    return sorted(found, key=sort_key) if binary else found


@computed("py_json_values", "VARCHAR", "BOOLEAN", result="VARCHAR[]")
def values_of(text: str, as_text: bool) -> list[str | None]:
    """The values of an object, in the order of its keys."""
    return [_shown(v) if as_text else v for _, v in members(text)]


@computed("py_json_elements", "VARCHAR", "BOOLEAN", result="VARCHAR[]")
def elements_of(text: str, as_text: bool) -> list[str | None]:
    kind = type_of(text)
    if kind != "array":
        raise InvalidParameterValue(
            "cannot call json_array_elements on a non-array" if kind == "object" else
            "cannot extract elements from a scalar"
        )  # fmt: skip
    return [_shown(v) if as_text else v for v in elements(text)]


@computed("py_json_quote", "VARCHAR", result="VARCHAR")
def string(text: str) -> str:
    return quote(text)


@computed("py_json_object", "VARCHAR[]", "VARCHAR[]", "BOOLEAN", result="VARCHAR")
def object_of(keys: list[str | None], values: list[str | None], binary: bool) -> str:
    """An object of keys and the JSON texts of its values."""
    if None in keys:
        raise InvalidParameterValue("argument 1: key must not be null")
    pairs = [(k or "", v if v is not None else "null") for k, v in zip(keys, values, strict=True)]
    if binary:
        return write({k: parse(v) for k, v in pairs})
    return "{" + ", ".join(f"{quote(k)} : {v}" for k, v in pairs) + "}"


@computed("py_json_row", "VARCHAR[]", "VARCHAR[]", result="VARCHAR")
def row(keys: list[str], values: list[str | None]) -> str:
    """row_to_json: an object without blanks."""
    return "{" + ",".join(f"{quote(k)}:{v or 'null'}" for k, v in zip(keys, values, strict=True)) + "}"


@computed("py_json_aggregate", "VARCHAR[]", "VARCHAR[]", "BOOLEAN", result="VARCHAR")
def object_aggregate(keys: list[str | None], values: list[str | None], binary: bool) -> str:
    if binary:
        made: str = object_of(keys, values, True)
        return made
    made = object_of(keys, values, False)
    return "{ " + made[1:-1] + " }"


@computed("py_json_array", "VARCHAR[]", "VARCHAR", result="VARCHAR")
def array_of(values: list[str | None], separator: str) -> str:
    """An array of JSON texts; json_agg's separator before a row is a line break."""
    return "[" + separator.join(v if v is not None else "null" for v in values) + "]"


@computed("py_json_pretty", "VARCHAR", result="VARCHAR")
def pretty(text: str) -> str:
    return _pretty(parse(text), 0)


def _pretty(value: Any, depth: int) -> str:
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, dict):
        parts = [f"{inner}{quote(k)}: {_pretty(value[k], depth + 1)}" for k in sorted(value, key=sort_key)]
        return "{\n" + ",\n".join(parts) + ("\n" if parts else "") + outer + "}"
    if isinstance(value, list):
        parts = [f"{inner}{_pretty(v, depth + 1)}" for v in value]
        return "[\n" + ",\n".join(parts) + ("\n" if parts else "") + outer + "]"
    return write(value)


@computed("py_json_strip_nulls", "VARCHAR", "BOOLEAN", result="VARCHAR")
def strip_nulls(text: str, binary: bool) -> str:
    made = _stripped(parse(text))
    return write(made) if binary else compact(made)


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _stripped(v) for k, v in value.items() if v is not None}
    return [_stripped(v) for v in value] if isinstance(value, list) else value
