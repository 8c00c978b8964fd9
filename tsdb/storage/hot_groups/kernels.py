"""The two passes over blocks' lines: which blocks, and their rows into groups.

NaN is greater than every number, as PostgreSQL orders it (manual, 8.1.3). Rows of a tag set are sorted by time, so
those of a bucket are one stretch, and its end is searched for in steps that double.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tsdb.kernels import borrowing, inlined, int32_at, int64_at
from tsdb.model.time import NS_PER_SECOND
from tsdb.storage import decimals
from tsdb.storage.hot import BITS, at_least, number_at

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Line = npt.NDArray[np.int64]

# What ``survey`` says: blocks in the range, of those with wanted tag sets, of those the ones whose lines are not known
# or cannot be; about how many rows are wanted; the first and the last time of the blocks.
IN_TIME, CHOSEN, UNKNOWN, UNFIT, ROWS, FIRST, LAST, TOLD = range(8)
# A block's bounds: min and max time, min and max tag set, rows, whether no two rows have one key.
MIN_TIME, MAX_TIME, MIN_TAGSET, MAX_TAGSET, BLOCK_ROWS, UNIQUE = range(6)

# What is kept of a column in a group. A sum of integers has two places: low and high.
SUM, MIN, MAX, FLOAT_SUM, FLOAT_MIN, FLOAT_MAX, FIRST_VALUE, LAST_VALUE = range(8)
# Where an operation says what and of which column (a line), and its place in the groups.
OPERATION, COLUMN, PLACE = range(3)
# The places of each group that are always there: how many rows, its first and last time.
GROUP_ROWS, FIRST_TIME, LAST_TIME, PLACES = range(4)

_LOW_BITS = 0xFFFFFFFF


@borrowing
def survey(
    bounds: Int64s, known: Bools, unfit: Bools, low: int, high: int, wanted: Int32s, everything: bool, keyed: bool,
    places: Int64s, told: Int64s,
) -> None:  # fmt: skip
    """Fill ``places`` with those of chosen blocks, as many as fit, and ``told``. ``wanted`` are ids that rise."""
    told[:] = 0
    told[FIRST], told[LAST] = high, low
    rows = 0.0
    for b in range(len(bounds)):
        if bounds[b, MIN_TIME] >= high or bounds[b, MAX_TIME] < low:
            continue
        told[IN_TIME] += 1
        first_id, last_id = bounds[b, MIN_TAGSET], bounds[b, MAX_TAGSET]
        hits = last_id - first_id + 1
        if not everything:
            hits = below(wanted, last_id + 1) - below(wanted, first_id)
            if hits == 0:
                continue
        if told[CHOSEN] == len(places) or unfit[b] or (keyed and bounds[b, UNIQUE] == 0):
            told[UNFIT] += 1
            return
        first, last = max(low, bounds[b, MIN_TIME]), min(high - 1, bounds[b, MAX_TIME])
        share = (float(last) - first + 1.0) / (float(bounds[b, MAX_TIME]) - bounds[b, MIN_TIME] + 1.0)
        rows += bounds[b, BLOCK_ROWS] * share * (hits / (last_id - first_id + 1.0))
        told[FIRST], told[LAST] = min(told[FIRST], first), max(told[LAST], last)
        told[UNKNOWN] += not known[b]
        places[told[CHOSEN]] = b
        told[CHOSEN] += 1
    told[ROWS] = np.int64(rows)


@inlined
def below(ids: Int32s, bound: int) -> int:
    """How many of some ids that rise are below a bound."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@borrowing
def meet(bounds: Int64s, places: Int64s) -> bool:
    """May two of these parts have versions of one key, to judge from their bounds?"""
    for i in range(len(places)):
        a = bounds[places[i]]
        for j in range(i):
            b = bounds[places[j]]
            if (
                a[MIN_TIME] <= b[MAX_TIME]
                and b[MIN_TIME] <= a[MAX_TIME]
                and a[MIN_TAGSET] <= b[MAX_TAGSET]
                and b[MIN_TAGSET] <= a[MAX_TAGSET]
            ):
                return True
    return False


@borrowing
def clash(
    table: Int64s, places: Int64s, wanted: Int32s, total: int, everything: bool, at: Int64s, firsts: Int64s,
    lasts: Int64s,
) -> bool:  # fmt: skip
    """Has a wanted tag set a time in one part that lies between two of its times in another? ``at`` are zeros, one for
    each part, and with ``firsts`` and ``lasts`` room to work in."""
    for w in range(total if everything else len(wanted)):
        tagset = w if everything else wanted[w]
        count = 0
        for p in range(len(places)):
            block = table[places[p]]
            runs = block[0, 1]
            if everything:
                # Ids rise: it is the next one or it is not there.
                here = at[p]
            else:
                here = place_of(block[0, 0], runs, at[p], tagset)
                at[p] = here
            if here == runs or int32_at(block[0, 0], here, runs) != tagset:
                continue
            at[p] = here + 1
            start, stop = int64_at(block[0, 2], here, runs + 1), int64_at(block[0, 2], here + 1, runs + 1)
            times = block[1]
            first, last = (
                times[3] + times[4] * number_at(times, start),
                times[3] + times[4] * number_at(times, stop - 1),
            )
            k = count
            while k > 0 and firsts[k - 1] > first:
                firsts[k], lasts[k] = firsts[k - 1], lasts[k - 1]
                k -= 1
            if (k > 0 and lasts[k - 1] >= first) or (k < count and firsts[k + 1] <= last):
                return True
            firsts[k], lasts[k] = first, last
            count += 1
    return False


@borrowing
def gather(
    table: Int64s, bounds: Int64s, places: Int64s, low: int, high: int, seconds: Bools, wanted: Int32s, group: Int32s,
    total: int, everything: bool, width: int, first: int, room: int, operations: Int64s, hints: Int64s, out: Int64s,
    floats: Float64s,
) -> int:  # fmt: skip
    """Add the rows of some blocks to groups, which are bucket · ``room`` + ``group`` of their tag set; how many rows.

    ``seconds``: which of the seconds from ``low``'s on are wanted; empty: all.
    ``group`` is by the place in ``wanted``, or with ``everything`` by id; empty where all are one. Ids from ``total``
    on are newer than the view. ``first`` is the first bucket's begin, ``width`` 0 where there is one bucket. ``out``
    and ``floats`` are the same memory: a line of all groups for each place, and one more to work in. ``hints`` are
    three numbers to work with: hosts that are measured together have their rows at the same places of their runs.
    """
    read = 0
    for p in range(len(places)):
        b = places[p]
        count = table[b, 0, 1]
        # A range that is not far from the block's times.
        begin, end = max(low, bounds[b, MIN_TIME]), min(high, bounds[b, MAX_TIME] + 1)
        if begin >= end:
            continue
        covered = begin == bounds[b, MIN_TIME] and end == bounds[b, MAX_TIME] + 1
        if everything:
            for i in range(count):
                tagset = int32_at(table[b, 0, 0], i, count)
                if tagset < total:
                    own = group[tagset] if len(group) else 0
                    read += _run(
                        table[b], i, begin, end, covered, low, seconds, width, first, room, own, operations, hints, out,
                        floats,
                    )  # fmt: skip
            continue
        at = 0
        for w in range(below(wanted, bounds[b, MIN_TAGSET]), len(wanted)):
            if wanted[w] > bounds[b, MAX_TAGSET]:
                break
            at = place_of(table[b, 0, 0], count, at, wanted[w])
            if at < count and int32_at(table[b, 0, 0], at, count) == wanted[w]:
                own = group[w] if len(group) else 0
                read += _run(
                    table[b], at, begin, end, covered, low, seconds, width, first, room, own, operations, hints, out,
                    floats,
                )  # fmt: skip
    return read


@inlined
def place_of(ids: int, count: int, low: int, wanted: int) -> int:
    """The first place from ``low`` on with an id of at least ``wanted``."""
    high = count
    while low < high:
        middle = (low + high) // 2
        if int32_at(ids, middle, count) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@borrowing
def _run(
    block: Int64s, run: int, begin: int, end: int, covered: bool, low: int, seconds: Bools, width: int, first: int,
    room: int, own: int, operations: Int64s, hints: Int64s, out: Int64s, floats: Float64s,
) -> int:  # fmt: skip
    """The rows of one row run of a block, stretch by stretch; how many."""
    times = block[1]
    base, step = times[3], times[4]
    start, stop = int64_at(block[0, 2], run, block[0, 1] + 1), int64_at(block[0, 2], run + 1, block[0, 1] + 1)
    if not covered:
        run_start, run_stop = start, stop
        start = _found(times, run_start, run_stop, -((base - begin) // step), run_start + hints[0])
        stop = _found(times, start, run_stop, -((base - end) // step), run_start + hints[1])
        hints[0], hints[1] = start - run_start, stop - run_start
    at, left_out = start, 0
    while at < stop:
        if len(seconds):
            first_wanted = _next(times, at, stop, low, seconds, True)
            left_out += first_wanted - at
            at = first_wanted
            if at == stop:
                break
        bucket = 0
        after = stop
        if width > 0:
            bucket = (base + step * number_at(times, at) - first) // width
            bound = -((base - (first + (bucket + 1) * width)) // step)
            after = at + hints[2]
            if not (at < after and _is_border(times, at, stop, bound, after)):
                after = _until(times, at, stop, bound)
            if after < stop:
                hints[2] = after - at
        if len(seconds):
            after = _next(times, at, after, low, seconds, False)
        cell = bucket * room + own
        out[GROUP_ROWS, cell] += after - at
        earliest, latest = base + step * number_at(times, at), base + step * number_at(times, after - 1)
        is_first, is_last = earliest < out[FIRST_TIME, cell], latest > out[LAST_TIME, cell]
        if is_first:
            out[FIRST_TIME, cell] = earliest
        if is_last:
            out[LAST_TIME, cell] = latest
        for k in range(len(operations)):
            line, place = block[operations[k, COLUMN]], operations[k, PLACE]
            operation = operations[k, OPERATION]
            if operation == FIRST_VALUE:
                if is_first:
                    _put(line, at, out, floats, place, cell)
            elif operation == LAST_VALUE:
                if is_last:
                    _put(line, _first_of_last(times, at, after), out, floats, place, cell)
            elif operation <= MAX:
                _integers(operation, line, at, after, out, place, cell)
            else:
                _floats(operation, line, at, after, out, floats, place, cell)
        at = after
    return stop - start - left_out


@borrowing
def _next(times: Line, at: int, stop: int, low: int, seconds: Bools, wanted: bool) -> int:
    """The first row in [at, stop) whose second is wanted (or is not), or ``stop``."""
    origin = low // NS_PER_SECOND
    while at < stop and seconds[(times[3] + times[4] * number_at(times, at)) // NS_PER_SECOND - origin] != wanted:
        at += 1
    return at


@inlined
def _is_border(line: Line, start: int, stop: int, bound: int, at: int) -> bool:
    """Whether the numbers of the rows [start, at) are below ``bound`` and those of [at, stop) are not."""
    return bool(
        start <= at <= stop
        and (at == start or number_at(line, at - 1) < bound)
        and (at == stop or number_at(line, at) >= bound)
    )


@inlined
def _found(line: Line, start: int, stop: int, bound: int, guess: int) -> int:
    """The first row in [start, stop) with a number of at least ``bound``, or ``stop``."""
    return guess if _is_border(line, start, stop, bound, guess) else at_least(line, start, stop, bound)


@inlined
def _until(line: Line, start: int, stop: int, bound: int) -> int:
    """The first place behind ``start`` with a number of at least ``bound``, or ``stop``; that at ``start`` is below."""
    low, stride = start, 1
    while low + stride < stop and number_at(line, low + stride) < bound:
        low += stride
        stride += stride
    return at_least(line, low + 1, min(stop, low + stride), bound)


@inlined
def _first_of_last(times: Line, start: int, stop: int) -> int:
    """Of the rows with the last time the first, as a pass over all rows would keep it."""
    at = stop - 1
    while at > start and number_at(times, at - 1) == number_at(times, stop - 1):
        at -= 1
    return at


@inlined
def _put(line: Line, row: int, out: Int64s, floats: Float64s, place: int, cell: int) -> None:
    """A row's value as it is, 64 bits."""
    out[place, cell] = line[3] + line[4] * number_at(line, row)
    if line[5] != BITS:
        floats[place, cell] = out[place, cell] / decimals.POWERS[line[5]]


@inlined
def _integers(operation: int, line: Line, start: int, stop: int, out: Int64s, place: int, cell: int) -> None:
    base, step = line[3], line[4]
    if operation == SUM:
        low, high = 0, 0
        for row in range(start, stop):
            value = base + step * number_at(line, row)
            low += value & _LOW_BITS
            high += value >> 32
        out[place, cell] += low
        out[place + 1, cell] += high
        return
    # Steps are positive: the order of numbers is that of values.
    kept = number_at(line, start)
    if operation == MIN:
        for row in range(start + 1, stop):
            kept = min(kept, number_at(line, row))
        out[place, cell] = min(out[place, cell], base + step * kept)
    else:
        for row in range(start + 1, stop):
            kept = max(kept, number_at(line, row))
        out[place, cell] = max(out[place, cell], base + step * kept)


@borrowing
def _floats(
    operation: int, line: Line, start: int, stop: int, out: Int64s, floats: Float64s, place: int, cell: int
) -> None:  # fmt: skip
    """As ``_integers``; a minimum is NaN, a maximum -infinity as long as there is none."""
    base, step, exponent = line[3], line[4], line[5]
    kept = floats[place, cell]
    # Where 64 bits are written as a number and read as a float.
    free = len(out) - 1
    for row in range(start, stop):
        bits = base + step * number_at(line, row)
        out[free, cell] = bits
        value = floats[free, cell] if exponent == BITS else bits / decimals.POWERS[exponent]
        if operation == FLOAT_SUM:
            kept += value
        elif operation == FLOAT_MIN:
            if value < kept or kept != kept:
                kept = value
        elif value > kept or value != value:
            kept = value
    floats[place, cell] = kept
