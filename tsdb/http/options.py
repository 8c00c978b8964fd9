"""Limits and switches of the HTTP edge."""

from __future__ import annotations

from dataclasses import dataclass, field

from tsdb.ingest.faults import Limits


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Limits and switches of the HTTP edge. ``body_timeout_s``: the period in which at least 16 KiB of a
    body, or its end, must come; ``open_loopback``: only this machine is served, so Host and Origin are checked also
    when nobody is asked for a password. ``database``: of a ``/write`` without one, as QuestDB's clients
    send it ("": 400).
    """

    body_bytes_max: int = 256 * 1024 * 1024
    bodies_bytes_max: int = 512 * 1024 * 1024
    body_timeout_s: float = 30.0
    create_database: bool = True
    database: str = ""
    open_loopback: bool = True
    limits: Limits = field(default_factory=Limits)
