"""CopyData messages one behind the other. Clients cut COPY's data as they like, often into messages of some KiB; their
data is taken at once, not with an event each.

Source: PostgreSQL 15 manual, 55.2.6 (COPY operations) and 55.7.
"""

from __future__ import annotations

import struct

COPY_DATA = ord("d")

# Messages that are taken at once: a bound on the work of one event.
MESSAGES_MAX = 4096

_HEAD = struct.Struct("!BI")


def split(octets: memoryview, message_bytes_max: int) -> tuple[list[memoryview], int]:
    """The data of the whole CopyData messages that ``octets`` begins with, and how many octets those messages are.

    Stops at the first other message, or at one that is not whole or whose length cannot be right.
    """
    parts: list[memoryview] = []
    at, end = 0, len(octets)
    while at + _HEAD.size <= end and len(parts) < MESSAGES_MAX:
        letter, length = _HEAD.unpack_from(octets, at)
        after = at + 1 + length
        if letter != COPY_DATA or not 4 <= length <= message_bytes_max or after > end:
            break
        parts.append(octets[at + _HEAD.size : after])
        at = after
    return parts, at
