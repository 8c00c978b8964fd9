"""Points and the many ways of writing each: names with random needless spellings, numbers in several forms."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from tests.ingest.reference import Field, bits_of
from tsdb.types import Kind

_RESERVED = {"time", "time_ns", "sequence", "_field", "_measurement"}
_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(',= "\\#éµ𝄞'), min_size=1, max_size=12)

# A name cannot end in a backslash (it would escape what follows), and a line that begins with # is a comment.
names = _text.filter(lambda name: name not in _RESERVED and not name.endswith("\\"))
measurements = names.filter(lambda name: not name.startswith("#") and "\\=" not in name)
_tag_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n") | st.sampled_from(',= "\\\t\r')
tag_values = st.text(_tag_characters, min_size=1, max_size=12).filter(lambda value: not value.endswith(("\\", "\r")))
strings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('"\\\n,= '))

values: st.SearchStrategy[Field] = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: (Kind.FLOAT8, value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (Kind.INT8, value)),
    st.integers(0, 2**64 - 1).map(lambda value: (Kind.UINT8, value)),
    st.booleans().map(lambda value: (Kind.BOOL, value)),
    strings.map(lambda value: (Kind.TEXT, value)),
)


@st.composite
def points(draw: st.DrawFn) -> tuple[str, dict[str, str], dict[str, Field], int | None]:
    """Measurement, tags, fields, time."""
    tags = draw(st.dictionaries(names, tag_values, max_size=4))
    fields = draw(st.dictionaries(names.filter(lambda name: name not in tags), values, min_size=1, max_size=5))
    time = draw(st.none() | st.integers(-(2**63) + 2, 2**63 - 2))
    return draw(measurements), tags, fields, time


def write_name(name: str, special: str) -> str:
    return "".join("\\" + c if c in special else c for c in name)


def write_string(value: str, rng: random.Random) -> str:
    """A backslash needs its escape only before a quote, a backslash or the end; elsewhere it may stand alone."""
    written = []
    for at, c in enumerate(value):
        alone = value[at + 1 : at + 2] not in ("", '"', "\\")
        if c == '"' or (c == "\\" and not (alone and rng.random() < 0.5)):
            written.append("\\")
        written.append(c)
    return '"' + "".join(written) + '"'


def write_value(field: Field, rng: random.Random) -> str:
    kind, value = field
    match kind:
        case Kind.FLOAT8:
            assert isinstance(value, float)
            written = rng.choice((repr(value), f"{value:.17e}", f"{value:.16E}", f"{value:f}"))
            return written if float(written) == value else repr(value)
        case Kind.BOOL:
            return rng.choice(("t", "T", "true", "True", "TRUE") if value else ("f", "F", "false", "False", "FALSE"))
        case Kind.TEXT:
            return write_string(str(value), rng)
    sign, digits = ("-", str(value)[1:]) if str(value).startswith("-") else ("", str(value))
    return sign + "0" * rng.choice((0, 0, 3, 40)) + digits + ("i" if kind is Kind.INT8 else "u")


def write_line(point: tuple[str, dict[str, str], dict[str, Field], int | None], rng: random.Random) -> str:
    measurement, tags, fields, time = point
    shuffled = rng.sample(list(tags.items()), len(tags))
    series_key = write_name(measurement, ", ") + "".join(
        f",{write_name(key, ',= ')}={write_name(value, ',= ')}" for key, value in shuffled
    )
    field_text = ",".join(f"{write_name(key, ',= ')}={write_value(value, rng)}" for key, value in fields.items())
    blank = " " * rng.choice((1, 1, 3))
    time_text = "" if time is None else f"{blank}{time}"
    return rng.choice(("", " ", "\t ")) + series_key + blank + field_text + time_text + rng.choice(("", "", " "))


def expected(field: Field) -> Field:
    kind, value = field
    return (kind, bits_of(value)) if isinstance(value, float) else field
