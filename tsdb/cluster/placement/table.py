"""A plan as text: what `tsdb cluster plan` prints, and what a log says before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tsdb.cluster.placement.layout import Layout
from tsdb.cluster.placement.plan import Move, Plan
from tsdb.cluster.placement.solver import Why

ROWS_MAX = 200
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def plan_text(plan: Plan, names: Mapping[int, str] | None = None, rows_max: int = ROWS_MAX) -> str:
    """The moves, in the order of locations and at most so many; then what each node has before and after; then sums.

    ``names``: of a plan that moves databases as a whole; their loads are microseconds of work a second.
    """
    unit = "location" if names is None else "database"
    if not plan.moves and not plan.waiting:
        return f"nothing to do: all {unit}s are where they should be\n"
    rows = [_row(move, names or {}) for move in plan.moves[:rows_max]]
    parts = [_grid((unit, "from", "to", "bytes", "why"), rows)]
    if len(plan.moves) > rows_max:
        parts.append(f"… and {len(plan.moves) - rows_max} more\n")
    busy = names is not None and any(each.load for each in plan.before.locations)
    header = ("node", "zone", "replicas", "bytes", *(("work",) if busy else ()), "leads")
    parts.append(_grid(header, list(_node_rows(plan, busy=busy))))
    parts.append(_sums(plan, unit))
    return "\n".join(parts)


def _row(move: Move, names: Mapping[int, str]) -> Sequence[str]:
    size = size_text(move.size_bytes) if move.taker and move.why is not Why.LEADERS else "-"
    return names.get(move.location, str(move.location)), _node(move.giver), _node(move.taker), size, move.why.value


def _node(node: int) -> str:
    return str(node) if node else "-"


def _node_rows(plan: Plan, *, busy: bool) -> Iterable[Sequence[str]]:
    before, after = _held(plan.before), _held(plan.after)
    for node in plan.before.nodes:
        nothing = 0, 0, 0.0, 0
        (count, size, load, leads), (later, later_size, later_load, later_leads) = (
            before.get(node.node, nothing),
            after.get(node.node, nothing),
        )
        yield (
            str(node.node),
            node.zone or "-",
            f"{count} → {later}",
            f"{size_text(size)} → {size_text(later_size)}",
            *((f"{load / 1000:.0f} → {later_load / 1000:.0f} ms/s",) if busy else ()),
            f"{leads} → {later_leads}",
        )


def _held(layout: Layout) -> dict[int, tuple[int, int, float, int]]:
    """(voting replicas, bytes, load, locations led) by node."""
    found: dict[int, tuple[int, int, float, int]] = {}
    for location in layout.locations:
        for node in location.voters:
            count, size, load, leads = found.get(node, (0, 0, 0.0, 0))
            leads += node == location.leader
            found[node] = count + 1, size + location.size_bytes, load + location.load, leads
    return found


def _sums(plan: Plan, unit: str) -> str:
    replicas = sum(bool(move.taker) and move.why is not Why.LEADERS for move in plan.moves)
    text = (
        f"{replicas} replica{'s' * (replicas != 1)} and {size_text(plan.moved_bytes)} to move, "
        f"{len(plan.steps)} step{'s' * (len(plan.steps) != 1)}, about {_duration_text(plan.seconds)}\n"
    )
    if plan.waiting:
        named = ", ".join(map(str, plan.waiting[:8])) + (", …" if len(plan.waiting) > 8 else "")
        text += f"{len(plan.waiting)} {unit}s wait for a node that is silent, or for more nodes: {named}\n"
    return text


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def size_text(size: float) -> str:
    """Bytes with three digits or so: 1.5 GiB."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def _duration_text(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
