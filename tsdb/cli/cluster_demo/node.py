"""A node of the demo: ``tsdb start``, in a process that ends when the demo's does, also when that is killed.

``python -m tsdb.cli.cluster_demo.node DEMO start …``, with the process id of the demo.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ORPHAN = 76
_PR_SET_PDEATHSIG = 1


def main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        # The demo ended before it could be said who follows it.
        os._exit(ORPHAN)
    sys.argv = [sys.argv[0], *sys.argv[2:]]
    from tsdb.cli.app import main

    main()


if __name__ == "__main__":
    main()
