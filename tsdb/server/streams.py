"""The listeners of line protocol without HTTP, as the settings want them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tsdb.clock import Clock
from tsdb.config import Settings
from tsdb.ingest.faults import Limits
from tsdb.lines.tcp import TcpLines
from tsdb.lines.udp import UdpLines
from tsdb.lines.writer import LineOptions, LineWriter
from tsdb.model.access import Access
from tsdb.model.acks import acks_of
from tsdb.model.store import Store

# A numbered batch of a stream waits in memory until its end.
NUMBERED_BYTES_MAX = 64 << 20


class Streams:
    """TCP and UDP, each if it has a port."""

    def __init__(self) -> None:
        self._tcp: tuple[TcpLines, LineWriter] | None = None
        self._udp: tuple[UdpLines, LineWriter] | None = None

    async def start(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        pool: ThreadPoolExecutor,
        rules: Access,
        limits: Limits,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Raises StartupError."""
        options = LineOptions(
            settings.line_database,
            settings.line_role,
            settings.create_database_on_write,
            min(NUMBERED_BYTES_MAX, settings.body_bytes_max),
            limits,
            acks_of(settings.line_acks) if settings.line_acks else None,
        )
        if settings.line_tcp_port is not None:
            writer = LineWriter(store, clock, pool, rules, options, "TCP")
            tcp = TcpLines(writer, settings.host, settings.line_tcp_port)
            await tcp.start(tls)
            self._tcp = tcp, writer
        if settings.line_udp_port is not None:
            writer = LineWriter(store, clock, pool, rules, options, "UDP")
            udp = UdpLines(writer, settings.host, settings.line_udp_port)
            await udp.start()
            self._udp = udp, writer

    async def stop(self, grace_s: float) -> None:
        """Take no more, store what has come, for ``grace_s`` at most."""
        both = [found[0].stop(grace_s) for found in (self._tcp, self._udp) if found is not None]
        await asyncio.gather(*both)

    @property
    def tcp_port(self) -> int | None:
        return None if self._tcp is None else self._tcp[0].port

    @property
    def udp_port(self) -> int | None:
        return None if self._udp is None else self._udp[0].port

    def gauges(self) -> Mapping[str, float]:
        """What has come, by name; nothing for what is off."""
        found: dict[str, float] = {}
        if self._tcp is not None:
            tcp, counts = self._tcp[0], self._tcp[1].counts
            found |= {
                "tcp_connections": tcp.connections,
                "tcp_points": counts.points,
                "tcp_lines_rejected": counts.rejected,
                "tcp_waits": counts.waits,
                "tcp_fell_short": counts.fell_short,
            }
        if self._udp is not None:
            udp, counts = self._udp[0], self._udp[1].counts
            found |= {
                "udp_datagrams": counts.datagrams,
                "udp_datagrams_dropped": udp.dropped(),
                "udp_points": counts.points,
                "udp_lines_rejected": counts.rejected,
                "udp_fell_short": counts.fell_short,
            }
        return found
