"""A server that is warm compiles nothing for what its first clients write and ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.fixtures.environment import ROOT, clean_environment

# A process of its own: others' kernels are there in this one.
FIRST_CLIENTS = """
import gc, json, sys, time
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from tsdb.cluster.node import Node
from tsdb.ingest.faults import Limits
from tsdb.ingest.write import WriteRequest, submit
from tsdb.server.warm import warm
from tsdb.sql.query import Queries
from tsdb.storage.options import Options

def known():
    return {
        f"{each.__module__}.{each.__name__}{signature}"
        for each in gc.get_objects() if isinstance(each, Dispatcher) for signature in each.signatures
    }

folder = Path(sys.argv[1])
queries = Queries(memory_limit_bytes=1 << 28, threads=1)
warm(queries, folder / "scratch", lambda: False)
before = known()
node = Node.open(folder / "data", Options(disk_reserve=0))
integers = ",".join(f"usage_{i}={i}7i" for i in range(10))
bodies = [
    "".join(f"cpu,hostname=host_{n % 1000},rack={n % 7} {integers} {1767225600000000000 + n}\\n" for n in range(2000)),
    "m v=1 1\\n",
    "m v=1,i=2i,b=t,s=\\"x\\" 1\\nm v=3 2\\n",
    "weather,place=north temperature=21.5,humidity=40i 1767225600000000000\\n",
]
for body in bodies:
    for future in submit(node, WriteRequest("tsdb", "ns"), body.encode(), time.time_ns(), Limits(), True).futures:
        future.result()
node.flush()
node.close()
queries.close()
print(json.dumps([len(before), sorted(known() - before)]))
"""


def test_first_writes_compile_no_kernel(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_CLIENTS, str(tmp_path)],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    there, compiled = json.loads(ran.stdout.splitlines()[-1])
    assert there > 50
    assert compiled == []
