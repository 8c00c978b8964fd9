"""Into how many slots a hot series' buckets are cut.

All points of one series in five minutes hash to one place, so one location gets them all, and no split helps. From some
bucket on they go to 2^k places by a hash of their times instead. The more slots, the more locations a query of that
series asks and the more ops its batches are cut into: so only where it must be, and as few as will do.
"""

from __future__ import annotations

from dataclasses import dataclass

from tsdb.cluster.metadata.rings import SLOT_BITS_MAX


@dataclass(frozen=True, slots=True)
class Heat:
    """A slot with more load than ``hot`` is too much for a location; one with less than ``cold`` is a waste."""

    hot: float
    cold: float

    def __post_init__(self) -> None:
        assert 0 <= 4 * self.cold <= self.hot, "what is joined must not be cut again soon"


def bits_for(load: float, bits: int, heat: Heat) -> int:
    """The slots, as a power of two, for a series with a load, which has ``bits`` now.

    As many as bring a slot to half of ``hot`` or less, so that growth finds room; as they are while a slot is neither
    hot nor cold.
    """
    each = load / (1 << bits)
    if heat.cold <= each <= heat.hot or (each < heat.cold and bits == 0):
        return bits
    wanted = 0
    while wanted < SLOT_BITS_MAX and load / (1 << wanted) > heat.hot / 2:
        wanted += 1
    return wanted
