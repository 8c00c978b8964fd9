"""Runs of the simulator, one for each seed, as many as there is time for; several calls add up.

    python -m tests.sim.seeds FIRST COUNT

prints a line for each thousand seeds: what was found, and the CPU that it took.
"""

from __future__ import annotations

import gc
import sys
import time

from tests.sim.world import World

BLOCK = 1_000
COLLECT_EVERY = 20


def faults(first: int, count: int) -> list[str]:
    """What went wrong, by seed."""
    found = []
    # A world is full of cycles, and of nothing else is there any garbage: the collector need not look all the time.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for seed in range(first, first + count):
            try:
                World(seed).run()
            except Exception as error:
                found.append(f"seed {seed}: {type(error).__name__}: {str(error)[:500]}")
            if seed % COLLECT_EVERY == 0:
                gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return found


def main(first: int, count: int) -> int:
    wrong = 0
    for start in range(first, first + count, BLOCK):
        end = min(start + BLOCK, first + count)
        begin = time.process_time()
        found = faults(start, end - start)
        wrong += len(found)
        took = time.process_time() - begin
        print(
            f"{time.strftime('%H:%M:%S')} seeds {start} to {end - 1}: {len(found)} broken, {took:.0f} s of CPU; "
            f"{end - first} of {count} done, {wrong} broken",
            *found, sep="\n  ", flush=True,
        )  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
