"""Arrow batches as line protocol: one string operation a column, nothing by row."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from tsdb.errors import ConfigurationError


def name_text(name: str, special: str = ",= ") -> str:
    """A name with its escapes. Raises ConfigurationError for one that line protocol cannot say."""
    if not name or "\n" in name or name.endswith("\\"):
        raise ConfigurationError(f"line protocol has no way to write the name {name!r}")
    return "".join("\\" + c if c in special else c for c in name)


def lines_of(
    batch: pa.RecordBatch, table: str, time_ns: str, tags: Iterable[str], unsigned: Collection[str] = ()
) -> tuple[pa.Array, int]:
    """The lines (without newlines) of a batch, and how many rows have no field and so no line.

    ``time_ns`` is the column with the time in ns, ``unsigned`` are fields whose texts are unsigned integers. NULLs are
    left out, NaN and infinities too. Raises ConfigurationError for a tag's value that line protocol cannot say.
    """
    keys = [name for name in tags if name in batch.schema.names]
    fields = [name for name in batch.schema.names if name != time_ns and name not in keys]
    head = [pa.scalar(name_text(table, ", "))]
    parts = [_tag(batch.column(name), name) for name in keys]
    series = pc.binary_join_element_wise(*head, *parts, "") if parts else pa.array([head[0].as_py()] * len(batch))
    if not fields:
        return pa.array([], pa.string()), len(batch)
    joined = pc.binary_join_element_wise(*(_field(batch.column(name), name, name in unsigned) for name in fields), "")
    values = pc.utf8_slice_codeunits(joined, 1)
    times = pc.cast(batch.column(time_ns), pa.string())
    lines = pc.binary_join_element_wise(series, values, times, " ")
    kept = pc.and_(pc.greater(pc.utf8_length(joined), 0), pc.is_valid(times))
    found = lines.filter(kept)
    return found, len(batch) - len(found)


def joined(lines: pa.Array) -> memoryview:
    """The lines' octets one behind the other, each with its newline."""
    ended = pa.concat_arrays([pc.binary_join_element_wise(lines, "\n", "")])
    octets = ended.buffers()[2]
    return memoryview(b"" if octets is None else octets)


def _tag(values: pa.Array, name: str) -> pa.Array:
    """``,name=value``, nothing where there is none."""
    text = pc.cast(values, pa.string())
    for wrong in text.filter(pc.match_substring_regex(text, r"^$|\n|\\$")).slice(0, 1).to_pylist():
        # It would be another value, or end the line and begin another one.
        why = f"line protocol has no way to write {wrong[:80]!r}, a value of the tag {name!r}: export CSV or Parquet"
        raise ConfigurationError(why)
    escaped = pc.replace_substring_regex(text, r"([,= ])", r"\\\1")
    whole = pc.binary_join_element_wise(f",{name_text(name)}=", escaped, "")
    return pc.fill_null(whole, "")


def _field(values: pa.Array, name: str, unsigned: bool) -> pa.Array:
    text = pc.binary_join_element_wise(values, "u", "") if unsigned else _value(values)
    return pc.fill_null(pc.binary_join_element_wise(f",{name_text(name)}=", text, ""), "")


def _value(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_floating(kind):
        return pc.cast(pc.if_else(pc.is_finite(values), values, None), pa.string())
    if pa.types.is_integer(kind):
        return pc.binary_join_element_wise(pc.cast(values, pa.string()), "i", "")
    if pa.types.is_boolean(kind):
        return pc.cast(values, pa.string())
    text = pc.cast(values, pa.string())
    escaped = pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')
    return pc.binary_join_element_wise('"', escaped, '"', "")
