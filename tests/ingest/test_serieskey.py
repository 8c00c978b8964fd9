"""Series keys in columns: their tags, and their tag sets by value."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsdb.ingest.lineprotocol import parse
from tsdb.ingest.serieskey import SeriesKeys
from tsdb.model.points import encode_tagset

# A value that ends in a backslash would escape what follows it.
texts = st.text(st.sampled_from("ab,= \\é"), min_size=1, max_size=6).filter(lambda text: not text.endswith("\\"))
tag_sets = st.dictionaries(texts, texts, max_size=5)
many = st.dictionaries(st.integers(0, 60).map("t{}".format), texts, min_size=17, max_size=40)


def escaped(text: str) -> str:
    return text.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def keys_of(written: list[list[tuple[str, str]]]) -> SeriesKeys:
    """The series keys of lines with these tags, each line with tags of its own."""
    lines = ["".join(["m", *(f",{escaped(k)}={escaped(v)}" for k, v in tags), " f=1"]) for tags in written]
    parsed = parse("\n".join(lines).encode(), now_ns=0)
    assert parsed.error_count == 0
    (found,) = parsed.lines
    return found.keys


def test_tags_are_sorted_by_their_decoded_keys() -> None:
    assert keys_of([[("b", "1"), ("a c", "2"), ("a", "3")]]).pairs(0) == (("a", "3"), ("a c", "2"), ("b", "1"))
    assert keys_of([[]]).pairs(0) == ()


def test_names_come_as_the_first_line_needs_them_each_lines_in_their_order() -> None:
    assert keys_of([[("b", "1"), ("a", "1")], [("c", "1"), ("a0", "1"), ("b", "2")]]).names == ("a", "b", "a0", "c")


@given(st.lists(tag_sets | many, min_size=1, max_size=6), st.randoms(use_true_random=False), st.data())
def test_tag_sets_by_value_are_what_encoding_each_would_give(
    distinct: list[dict[str, str]], random: Random, data: st.DataObject
) -> None:
    written = []
    for tags in distinct:
        pairs = list(tags.items())
        random.shuffle(pairs)
        written.append(pairs)
    keys = keys_of(written)
    names = keys.names
    numbers = data.draw(st.permutations([3, 300, 70_000, *range(400, 400 + len(names))]))[: len(names)]
    if names and random.random() < 0.5:
        numbers[0] = -1
    by_name = dict(zip(names, numbers, strict=True))
    expected = {
        encode_tagset((by_name[name], value) for name, value in tags.items() if by_name[name] >= 0) for tags in distinct
    }
    encoded = keys.encoded(np.array(numbers, np.int64))
    number, found = keys.distinct(np.array(numbers, np.int64), np.uint64(7))
    number = np.arange(len(keys), dtype=np.int32) if number is None else number
    assert set(encoded) == expected
    assert sorted(found) == sorted(expected)
    assert [found[i] for i in number.tolist()] == list(encoded)


plain = st.lists(st.permutations(["a", "b", "c"]).map(lambda names: names[:2]), min_size=1, max_size=5)


@given(plain, st.lists(st.sampled_from("xy"), min_size=10, max_size=10), st.booleans())
def test_series_keys_that_differ_in_the_order_of_their_tags_alone_are_one_tag_set(
    names: list[list[str]], values: list[str], leave_out: bool
) -> None:
    written = [[(name, values[2 * at + i]) for i, name in enumerate(each)] for at, each in enumerate(names)]
    keys = keys_of(written)
    numbers = {name: at + 1 for at, name in enumerate(keys.names)} | ({"a": -1} if leave_out else {})
    number, found = keys.distinct(np.array([numbers[name] for name in keys.names], np.int64), np.uint64(5))
    number = np.arange(len(keys), dtype=np.int32) if number is None else number
    distinct = list(dict.fromkeys(tuple(tags) for tags in written))
    expected = [encode_tagset((numbers[k], v) for k, v in tags if numbers[k] >= 0) for tags in distinct]
    assert [found[i] for i in number.tolist()] == expected
    assert len(set(found)) == len(found)
