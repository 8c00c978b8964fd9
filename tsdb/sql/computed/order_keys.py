"""Octets that stand in the order of the values they are made of. Pure."""

from __future__ import annotations

from decimal import Decimal

_EXPONENT = 1 << 15


def of_integer(value: int) -> bytes:
    """Nine octets, for numbers of up to 71 bits."""
    return (value + (1 << 71)).to_bytes(9, "big")


def of_decimal(value: Decimal) -> bytes:
    """Equal numbers have equal octets, whatever their scales: 1.5 is 1.50."""
    if not value:
        return b"\x80"
    digits = "".join(map(str, value.as_tuple().digits)).lstrip("0").rstrip("0")
    size = (value.adjusted() + _EXPONENT).to_bytes(2, "big") + digits.encode() + b"\0"
    return b"\x81" + size if value > 0 else b"\x7f" + bytes(255 - octet for octet in size)
