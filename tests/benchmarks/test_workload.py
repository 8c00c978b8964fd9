"""The generated points: the same from the same seed, TSBS's values and statistics."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.workload import FIELDS, INTERVAL_NS, START_NS, TAGS, TEAMS, ZONES, generate


def test_a_seed_draws_the_same_points_every_time() -> None:
    one, other = generate(20, 0.5, 7), generate(20, 0.5, 7)
    assert one.tags == other.tags
    assert np.array_equal(one.values, other.values)


def test_another_seed_draws_other_points() -> None:
    one, other = generate(20, 0.5, 7), generate(20, 0.5, 8)
    assert one.tags != other.tags
    assert not np.array_equal(one.values, other.values)


def test_there_is_a_point_for_every_host_every_ten_seconds() -> None:
    workload = generate(3, 1, 1)
    assert workload.values.shape == (360, 3, 10)
    assert workload.points == 1080
    assert workload.times_ns[0] == START_NS
    assert set(np.diff(workload.times_ns)) == {INTERVAL_NS}
    assert workload.end_ns == START_NS + 3600 * 10**9


def test_fields_are_clamped_walks_of_small_steps() -> None:
    values = generate(200, 2, 3).values.astype(np.int64)
    assert values.min() == 0
    assert values.max() == 100
    assert 45 < values.mean() < 55
    steps = np.diff(values, axis=0)
    assert abs(steps).max() <= 7
    assert 0.9 < steps.std() < 1.1


def test_a_host_has_ten_tags_with_values_that_tsbs_has() -> None:
    workload = generate(500, 0.1, 5)
    by_tag = {tag: {tags[i] for tags in workload.tags} for i, tag in enumerate(TAGS)}
    assert by_tag["hostname"] == {f"host_{i}" for i in range(500)}
    assert by_tag["region"] == set(ZONES)
    assert by_tag["team"] == set(TEAMS)
    assert by_tag["service"] == {str(i) for i in range(20)}
    assert by_tag["service_version"] == {"0", "1"}
    for tags in workload.tags:
        region, datacenter = tags[1], tags[2]
        assert datacenter.startswith(region)
        assert datacenter.removeprefix(region) in ZONES[region]
    assert len(FIELDS) == 10


@pytest.mark.parametrize(("hosts", "hours"), [(0, 1), (10**9, 1), (1, 0), (1, 1e9), (100_000, 2000)])
def test_a_size_out_of_bounds_is_refused_by_name(hosts: int, hours: float) -> None:
    with pytest.raises(ValueError, match="must be between"):
        generate(hosts, hours, 1)
