"""A process that writes numbered batches until it is killed, and says which ones were acknowledged.

``python -m tests.cluster.writer DIRECTORY FIRST SEED``: batch n holds ROWS points, each with the value n, spread over
several ring locations. It prints ``n`` when batch n is acknowledged, and retries nothing: whoever starts it again does.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future
from pathlib import Path
from random import Random

from tests.cluster.setting import START, Setting
from tsdb.model.store import Producer, Written
from tsdb.model.time import BUCKET_NS

ROWS = 12
IN_FLIGHT = 5


def main(directory: Path, first: int, seed: int) -> None:
    random = Random(seed)
    setting = Setting(directory, keyed=False, head_bytes=60_000, rows_per_block=200, compaction_quiet=0)
    print("ready", flush=True)
    flying: list[tuple[int, Future[Written]]] = []
    batch = first
    while True:
        points = setting.points([batch] * ROWS, start=START + batch, step=BUCKET_NS)
        flying.append((batch, setting.node.write(setting.database, [points], Producer("writer", batch))))
        batch += 1
        if len(flying) >= IN_FLIGHT:
            number, future = flying.pop(0)
            future.result(30)
            print(number, flush=True)
        if random.random() < 0.02:
            setting.node.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
