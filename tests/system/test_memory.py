"""Memory of the server while it loads: bounded. A short load here; the benchmark has the long one."""

from __future__ import annotations

import http.client

from tests.fixtures.server import WARM, Process, Start

MIB = 2**20
HOSTS, TICKS, BODIES = 1000, 10, 60


def load(process: Process) -> int:
    """Send the bodies one after the other; the most memory seen between two."""
    connection = http.client.HTTPConnection("127.0.0.1", process.http_port, timeout=60)
    most = 0
    for body in range(BODIES):
        lines = "".join(
            f"cpu,host=h{host} a={tick}.5,b={host}i,c={body}.25 {(body * TICKS + tick) * 10_000_000_000 + host}\n"
            for tick in range(TICKS)
            for host in range(HOSTS)
        )
        connection.request("POST", "/write?db=tsdb", lines.encode())
        response = connection.getresponse()
        assert (response.status, response.read()) == (204, b"")
        most = max(most, process.memory_bytes())
    connection.close()
    return most


def test_memory_stays_bounded_while_loading(start: Start) -> None:
    process = start("--head-bytes", "16MiB", **WARM)
    assert load(process) < 1024 * MIB
    with process.connect() as connection:
        assert connection.execute("SELECT count(*) FROM cpu").fetchone() == (HOSTS * TICKS * BODIES,)
