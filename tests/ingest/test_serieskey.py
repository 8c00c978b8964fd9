"""Series keys decoded and kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tsdb.ingest.serieskey import SeriesKeyCache, TagSet, decode_series_key


def test_tags_are_sorted_by_their_decoded_keys() -> None:
    assert decode_series_key(rb"m,b=1,a\ c=2,a=3") == ("m", TagSet((("a", "3"), ("a c", "2"), ("b", "1"))))
    assert decode_series_key(b"m,b=1,a=3") == ("m", TagSet((("a", "3"), ("b", "1"))))
    assert decode_series_key(b"m") == ("m", TagSet(()))


def test_equal_tag_sets_are_equal_and_others_are_not() -> None:
    assert TagSet((("a", "1"),)) == TagSet((("a", "1"),))
    assert hash(TagSet((("a", "1"),))) == hash(TagSet((("a", "1"),)))
    assert TagSet((("a", "1"),)) != TagSet((("a", "2"),))
    assert TagSet(()) != ()


def test_a_series_key_is_decoded_once() -> None:
    cache = SeriesKeyCache()
    assert cache.decode(b"m,a=1") is cache.decode(b"m,a=1")


def test_the_cache_stays_within_its_bytes_and_keeps_what_is_used() -> None:
    cache = SeriesKeyCache(bytes_max=20_000)
    hot = cache.decode(b"hot,a=1")
    for i in range(1000):
        cache.decode(b"m,a=%d" % i)
        assert cache.decode(b"hot,a=1") is hot
        assert len(cache) <= 40


def test_threads_share_the_cache() -> None:
    cache = SeriesKeyCache(bytes_max=20_000)
    keys = [b"m,a=%d" % (i % 97) for i in range(20_000)]
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(cache.decode, keys))
    assert all(tagset.pairs == (("a", str(i % 97)),) for i, (_, tagset) in enumerate(decoded))
