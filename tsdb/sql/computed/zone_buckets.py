"""time_bucket in a time zone: buckets of local time that begin where clocks say so, whatever daylight saving does.

A bucket is a run of instants whose local times are in one bucket of local time. It begins where the clock shows its
begin, or when clocks are put forward or back over that. An hour that comes twice is two buckets, a day or a week is
one however clocks are changed in it. So a bucket never begins after its points.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from tsdb.kernels import kernel
from tsdb.sql.computed.registry import over_vectors
from tsdb.sql.computed.zones import FOREVER, transitions

DAY = 86_400_000_000


@kernel
def month_of(days: Any) -> Any:
    """Months since 0000-03-01's January … of a day since 1970: year · 12 + month − 1 (Hinnant, civil_from_days)."""
    shifted = days + 719_468
    era = shifted // 146_097
    day = shifted - era * 146_097
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    month = (5 * (day - (365 * year + year // 4 - year // 100)) + 2) // 153
    return (year + era * 400) * 12 + month + 2


@kernel
def first_day_of(month: Any) -> Any:
    """The day since 1970 with which a month (year · 12 + month − 1) begins (Hinnant, days_from_civil)."""
    year, rest = month // 12, month % 12
    if rest < 2:
        year -= 1
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * ((rest + 10) % 12) + 2) // 5
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@kernel
def local_bucket(local: Any, months: Any, width: Any, origin: Any) -> Any:
    """Where a local time's bucket begins, in local µs."""
    if months == 0:
        return local - (local - origin) % width
    start = month_of(origin // DAY)
    return first_day_of(month_of(local // DAY) - (month_of(local // DAY) - start) % months) * DAY


@kernel
def zone_buckets(
    times: Any, starts: Any, offsets: Any, months: Any, width: Any, origin: Any, shift: Any, results: Any
) -> None:
    """``results``: the begin of each time's bucket; times that are no instants stay what they are."""
    whole_days = months > 0 or width >= DAY
    for i in range(len(times)):
        time = times[i]
        if abs(time) >= FOREVER:
            results[i] = time
            continue
        period = np.searchsorted(starts, time, side="right") - 1
        bucket = local_bucket(time + offsets[period] - shift, months, width, origin)
        begin = bucket + shift - offsets[period]
        while period > 0 and (begin < starts[period] or (whole_days and begin == starts[period])):
            # Clocks were changed in the bucket, if what came right before is in it, too.
            before = starts[period] - 1 + offsets[period - 1] - shift
            if local_bucket(before, months, width, origin) != bucket:
                begin = starts[period]
                break
            period -= 1
            begin = bucket + shift - offsets[period]
        results[i] = begin


@over_vectors("py_zone_bucket", "BIGINT", "VARCHAR", result="BIGINT")
def zone_bucket(times: pa.Array, forms: pa.Array) -> pa.Array:
    """Buckets of instants (µs); a form is ``zone|months|width|origin|offset``, in µs of local time."""
    values = times.fill_null(0).to_numpy()
    results = np.zeros(len(values), np.int64)
    encoded = forms.dictionary_encode()
    which = encoded.indices.fill_null(-1).to_numpy()
    for number, form in enumerate(encoded.dictionary.to_pylist()):
        zone, months, width, origin, shift = _form(form)
        table = transitions(zone)
        chosen = slice(None) if len(encoded.dictionary) == 1 else which == number
        part = np.empty(len(values[chosen]), np.int64)
        zone_buckets(values[chosen], table.starts, table.offsets, months, width, origin, shift, part)
        results[chosen] = part
    mask = times.is_null().to_numpy(zero_copy_only=False) | (which < 0)
    return pa.array(results, mask=mask)


@lru_cache(maxsize=256)
def _form(text: str) -> tuple[str, int, int, int, int]:
    zone, months, width, origin, shift = text.split("|")
    return zone, int(months), int(width), int(origin), int(shift)
