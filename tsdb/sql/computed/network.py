"""inet and cidr: from a text to the one that PostgreSQL prints, their order, operators and functions.

Source: PostgreSQL 15 manual, 8.9 and 9.12; network.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from tsdb.errors import InvalidParameterValue, InvalidTextRepresentation, NumericValueOutOfRange
from tsdb.sql.computed.registry import computed

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _invalid(name: str, text: str) -> InvalidTextRepresentation:
    return InvalidTextRepresentation(f'invalid input syntax for type {name}: "{text[:200]}"')


def _interface(name: str, text: str) -> Interface:
    try:
        return ipaddress.ip_interface(text.strip())
    except ValueError:
        raise _invalid(name, text) from None


def inet(text: str) -> str:
    """10.0.0.1/32 is shown without its length."""
    return show(_interface("inet", text))


def show(found: Interface) -> str:
    length = found.network.prefixlen
    return _address(found.ip) if length == found.max_prefixlen else f"{_address(found.ip)}/{length}"


def _address(address: Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def cidr(text: str) -> str:
    """A network: an IPv4 one may leave out octets at its end."""
    found = _interface("cidr", _whole(text.strip()))
    if found.ip != found.network.network_address:
        raise InvalidTextRepresentation(
            f'invalid cidr value: "{text.strip()[:200]}"', detail="Value has bits set to right of mask."
        )
    return f"{_address(found.ip)}/{found.network.prefixlen}"


def _whole(text: str) -> str:
    """10.1/16 and 10.1, whose length is that of its octets, with all four (inet_net_pton.c)."""
    octets, slash, length = text.partition("/")
    parts = octets.split(".")
    if ":" in text or len(parts) > 4 or not all(p.isascii() and p.isdigit() for p in parts):
        return text
    if not slash and len(parts) < 4:
        first = int(parts[0])
        classes = 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 32
        length = str(max(classes, 8 * len(parts)))
        slash = "/"
    return ".".join(parts + ["0"] * (4 - len(parts))) + slash + length


def order_key(text: str) -> bytes:
    """By family, network, length of the network, address (network_cmp)."""
    found = ipaddress.ip_interface(text)
    network = found.network
    return bytes([found.version]) + network.network_address.packed + bytes([network.prefixlen]) + found.ip.packed


def _within(a: Interface, b: Interface) -> bool:
    return a.version == b.version and a.network.prefixlen >= b.network.prefixlen and a.ip in b.network


_TESTS: dict[str, Callable[[Interface, Interface], bool]] = {
    "<<=": _within,
    "<<": lambda a, b: _within(a, b) and a.network.prefixlen > b.network.prefixlen,
    "&&": lambda a, b: _within(a, b) or _within(b, a),
}


@computed("py_inet_test", "VARCHAR", "VARCHAR", "VARCHAR", result="BOOLEAN")
def test(symbol: str, left: str, right: str) -> bool:
    """<<, <<= and &&; the networks of addresses count with their own lengths."""
    return _TESTS[symbol](ipaddress.ip_interface(left), ipaddress.ip_interface(right))


def _abbreviated(found: Interface, *, is_cidr: bool) -> str:
    if not is_cidr or found.version == 6:
        return show(found) if not is_cidr else f"{_address(found.ip)}/{found.network.prefixlen}"
    octets = str(found.ip).split(".")
    return f"{'.'.join(octets[: max(1, (found.network.prefixlen + 7) // 8)])}/{found.network.prefixlen}"


_TEXTS: dict[str, Callable[[Interface], str]] = {
    "host": lambda found: _address(found.ip),
    "text": lambda found: f"{_address(found.ip)}/{found.network.prefixlen}",
    "network": lambda found: f"{_address(found.network.network_address)}/{found.network.prefixlen}",
    "netmask": lambda found: str(found.netmask),
    "hostmask": lambda found: str(found.hostmask),
    "broadcast": lambda found: show(
        ipaddress.ip_interface(f"{found.network.broadcast_address}/{found.network.prefixlen}")
    ),
    "abbrev": lambda found: _abbreviated(found, is_cidr=False),
    "abbrev cidr": lambda found: _abbreviated(found, is_cidr=True),
    "~": lambda found: show(_moved(found, (1 << found.max_prefixlen) - 1 - int(found.ip))),
}


@computed("py_inet_text", "VARCHAR", "VARCHAR", result="VARCHAR")
def of_one(what: str, text: str) -> str:
    """host(), network(), broadcast() and their like."""
    return _TEXTS[what](ipaddress.ip_interface(text))


@computed("py_inet_number", "VARCHAR", "VARCHAR", result="BIGINT")
def number(what: str, text: str) -> int:
    """family() and masklen()."""
    found = ipaddress.ip_interface(text)
    return found.version if what == "family" else found.network.prefixlen


def _moved(found: Interface, address: int) -> Interface:
    if not 0 <= address < 1 << found.max_prefixlen:
        raise NumericValueOutOfRange("result is out of range")
    kind = ipaddress.IPv4Interface if found.version == 4 else ipaddress.IPv6Interface
    return kind((address, found.network.prefixlen))


@computed("py_inet_plus", "VARCHAR", "BIGINT", result="VARCHAR")
def plus(text: str, count: int) -> str:
    found = ipaddress.ip_interface(text)
    return show(_moved(found, int(found.ip) + count))


def _same_family(left: str, right: str, what: str) -> tuple[Interface, Interface]:
    a, b = ipaddress.ip_interface(left), ipaddress.ip_interface(right)
    if a.version != b.version:
        raise InvalidParameterValue(what)
    return a, b


@computed("py_inet_minus", "VARCHAR", "VARCHAR", result="BIGINT")
def minus(left: str, right: str) -> int:
    a, b = _same_family(left, right, "cannot subtract inet values of different sizes")
    count = int(a.ip) - int(b.ip)
    if not -(2**63) <= count < 2**63:
        raise NumericValueOutOfRange("result is out of range")
    return count


@computed("py_inet_bits", "VARCHAR", "VARCHAR", "VARCHAR", result="VARCHAR")
def bits(symbol: str, left: str, right: str) -> str:
    """& and |."""
    word = "AND" if symbol == "&" else "OR"
    a, b = _same_family(left, right, f"cannot {word} inet values of different sizes")
    made = int(a.ip) & int(b.ip) if symbol == "&" else int(a.ip) | int(b.ip)
    longer = max(a.network.prefixlen, b.network.prefixlen)
    return show(_moved(ipaddress.ip_interface(f"{a.ip}/{longer}"), made))


@computed("py_inet_merge", "VARCHAR", "VARCHAR", result="VARCHAR")
def merge(left: str, right: str) -> str:
    """The smallest network around both."""
    a, b = _same_family(left, right, "cannot merge addresses from different families")
    common = a.max_prefixlen - (int(a.ip) ^ int(b.ip)).bit_length()
    length = min(common, a.network.prefixlen, b.network.prefixlen)
    return cidr(str(ipaddress.ip_network(f"{a.ip}/{length}", strict=False)))


@computed("py_inet_length", "VARCHAR", "VARCHAR", "BIGINT", result="VARCHAR")
def with_length(typname: str, text: str, length: int) -> str:
    """set_masklen(): of a cidr the bits behind it become 0."""
    found = ipaddress.ip_interface(text)
    if length == -1:
        length = found.max_prefixlen
    if not 0 <= length <= found.max_prefixlen:
        raise InvalidParameterValue(f"invalid mask length: {length}")
    made = ipaddress.ip_interface(f"{found.ip}/{length}")
    return show(made) if typname == "inet" else f"{_address(made.network.network_address)}/{length}"
