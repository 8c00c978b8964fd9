"""Aggregates of time series: counters, averages weighted by time, histograms and sketches.

Names and results as users of TimescaleDB (and its toolkit), Prometheus and DuckDB know them. In a template ``{0}`` is
an argument and ``{f}`` the FILTER and OVER, as in ``aggregates``. An aggregate over time takes (value, time) or (time,
value); each group becomes a list that ``tsdb.sql.computed.over_time`` reads in the order of time.

Source: TimescaleDB's reference (hyperfunctions); Prometheus' functions delta, increase, rate and resets.
"""

from __future__ import annotations

from tsdb.sql.expressions.signature import read

_OVER_TIME = (
    ("delta", "float8"), ("increase", "float8"), ("rate", "float8"), ("gauge_rate", "float8"), ("resets", "int8"),
)  # fmt: skip
_WEIGHTED = (("time_weighted_average", "average"), ("time_weighted_integral", "integral"))
_HISTOGRAM = "histogram(pg_histogram_place({0}, {1}, {2}, {3})){f}"
_TIMES = ("timestamptz", "timestamp")


def _points(value: int, time: int) -> str:
    return f"list(struct_pack(t := epoch_us({{{time}}}), v := {{{value}}})){{f}}"


def _over_time() -> str:
    lines = []
    for name, result in _OVER_TIME:
        for time in _TIMES:
            lines.append(f"{name}(float8, {time}) {result}: py_{name}({_points(0, 1)})")
            lines.append(f"{name}({time}, float8) {result}: py_{name}({_points(1, 0)})")
    for name, function in _WEIGHTED:
        for time in _TIMES:
            lines.append(f"{name}(float8, {time}) float8: py_{function}({_points(0, 1)}, 'linear')")
            lines.append(f"{name}(float8, {time}, text) float8: py_{function}({_points(0, 1)}, {{2}})")
    for time in _TIMES:
        integral = f"py_integral({_points(0, 1)}, {{2}}) / pg_unit_seconds({{3}})"
        lines.append(f"time_weighted_integral(float8, {time}, text, text) float8: ({integral})")
    return "\n".join(lines)


TABLE = read(f"""
{_over_time()}
histogram(float8, float8, float8, int4) _int4:
    pg_histogram(map_keys({_HISTOGRAM}), map_values({_HISTOGRAM}), {{3}})
approx_percentile(float8, float8) float8: approx_quantile({{0}}, CAST({{1}} AS FLOAT)){{f}}
approx_quantile(float8, float8) float8: approx_quantile({{0}}, CAST({{1}} AS FLOAT)){{f}}
""")

# Arguments, by their places, that must be the same for all rows of a group.
CONSTANT = {
    "histogram": (1, 2, 3), "approx_percentile": (1,), "approx_quantile": (1,),
    "time_weighted_average": (2,), "time_weighted_integral": (2, 3),
}  # fmt: skip

# What the toolkit asks in two steps, an accessor of a summary: the aggregate that answers it in one, with the places of
# its arguments among the summary's.
ACCESSORS: dict[tuple[str, str], tuple[str, tuple[int, ...]]] = {
    ("average", "time_weight"): ("time_weighted_average", (2, 1, 0)),
    ("integral", "time_weight"): ("time_weighted_integral", (2, 1, 0)),
    ("delta", "counter_agg"): ("increase", (1, 0)),
    ("delta", "gauge_agg"): ("delta", (1, 0)),
    ("rate", "counter_agg"): ("rate", (1, 0)),
    ("rate", "gauge_agg"): ("gauge_rate", (1, 0)),
    ("num_resets", "counter_agg"): ("resets", (1, 0)),
    ("approx_percentile", "percentile_agg"): ("approx_percentile", (0,)),
    ("approx_percentile", "uddsketch"): ("approx_percentile", (2,)),
    ("approx_percentile", "tdigest"): ("approx_percentile", (1,)),
    ("distinct_count", "approx_count_distinct"): ("approx_count_distinct", (0,)),
    ("distinct_count", "hyperloglog"): ("approx_count_distinct", (1,)),
}
SUMMARIES = {summary for _, summary in ACCESSORS} - {"approx_count_distinct"}
