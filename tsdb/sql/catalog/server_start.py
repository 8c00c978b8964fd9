"""When this process began: pg_postmaster_start_time(), and since when statistics count."""

from __future__ import annotations

import time

STARTED_US = time.time_ns() // 1000
