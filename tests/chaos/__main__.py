"""``make chaos``: play many schedules and count what struck. Prints, last, ``N schedules, F faults, V violations``."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import SimpleQueue, active_children
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from tests.fast_place import fast_place
from tests.one_core import core_numbers, stay_on

#: Schedules that are drawn from one seed.
BATCH = 100
Played = tuple[int, Counter[str], Counter[str], list[str]]


def batch(seed: int, schedules: int, place: str) -> Played:
    """Play schedules drawn from ``seed`` in this process, in a folder of their own at ``place``.

    Returns how many, the faults that struck, what else happened, and the violations.
    """
    import logging

    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from tests.chaos.play import play
    from tests.chaos.schedule import Schedule
    from tests.chaos.schedule import schedules as all_schedules
    from tests.chaos.violated import Violated

    logging.disable(logging.CRITICAL)
    struck: Counter[str] = Counter()
    besides: Counter[str] = Counter()
    violations: list[str] = []
    done = 0
    folder = Path(mkdtemp(dir=place))

    def one(schedule: Schedule) -> None:
        nonlocal done
        player = play(schedule, folder)
        done += 1
        struck.update(player.world.core.faults.injected)
        struck["process killed"] += player.deaths
        struck["run in another run"] += player.nested
        struck["queue junk"] += player.junk
        besides.update(player.besides)

    play_all = seeded(seed)(
        settings(
            max_examples=schedules,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )(given(all_schedules)(one))
    )
    try:
        play_all()
    except Violated as violation:
        violations.append(str(violation))
    except BaseExceptionGroup as several:
        violations += [str(error) for error in several.exceptions]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return done, struck, besides, violations


def _take_core(numbers: SimpleQueue[int]) -> None:
    stay_on(numbers.get())


def main() -> int:
    """Play the schedules on every core."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=20_260_101)
    asked = parser.parse_args()
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    workers = len(core_numbers()) or os.cpu_count() or 1
    numbers: SimpleQueue[int] = SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    sizes = [min(BATCH, asked.schedules - first) for first in range(0, asked.schedules, BATCH)]
    struck: Counter[str] = Counter()
    besides: Counter[str] = Counter()
    violations: list[str] = []
    played = 0
    with (
        TemporaryDirectory(prefix="chaos-", dir=fast_place(), ignore_cleanup_errors=True) as place,
        ProcessPoolExecutor(workers, initializer=_take_core, initargs=(numbers,)) as pool,
    ):
        batches = [pool.submit(batch, asked.seed + number, size, place) for number, size in enumerate(sizes)]
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.default_int_handler)
        try:
            for ended in as_completed(batches):
                done, faults, more, found = ended.result()
                played += done
                struck.update(faults)
                besides.update(more)
                violations += found
                for violation in found:
                    print(violation, end="\n\n", flush=True)
                sys.stderr.write(f"  {played:,} of {asked.schedules:,} schedules, {len(violations)} violations\n")
        except KeyboardInterrupt:
            print("Interrupted; this is what was played to the end:")
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # what they are at would take minutes
                worker.terminate()
    print(f"seed {asked.seed}")
    for fault, times in sorted(struck.items()):
        print(f"  {fault:24} {times:>9,}")
    print("besides, no faults:")
    for event, times in sorted(besides.items()):
        print(f"  {event:24} {times:>9,}")
    print(f"{played} schedules, {sum(struck.values())} faults, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
