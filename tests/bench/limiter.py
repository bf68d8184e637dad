"""Case g: several processes send as fast as they get tickets; what the sandbox saw of it decides."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.bench.bench import Bench, expect, say
from tests.bench.results import Found, Line, Target

PROCESSES = (4, 8)
SECONDS = 60.0
#: Time for the processes to start before all send at once.
_START = 8.0


def busiest_second(times: Iterable[float]) -> int:
    """Return the most requests in any window of one second (half open, as Amazon's limit is read)."""
    ordered = sorted(times)
    most = first = 0
    for last, instant in enumerate(ordered):
        while instant - ordered[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def limiter(bench: Bench) -> Found:
    """Run with 4 and with 8 processes."""
    found = Found([], [])
    for processes in PROCESSES:
        found += _with(bench, processes)
    return found


def _with(bench: Bench, processes: int) -> Found:
    bench.restore_ledger()
    place = bench.place(bench.fresh("lake"), bench.folder / "none.parquet")
    say(f"g: {processes} processes, {SECONDS:.0f} s")
    starts = time.time() + _START
    with ThreadPoolExecutor(processes) as pool:
        takers = [
            pool.submit(bench.ours, "tests.bench.taker", place.as_json(), repr(starts), repr(SECONDS))
            for _ in range(processes)
        ]
        costs = [taker.result() for taker in takers]
    seen = [request for request in bench.services.requests() if request["time"] >= starts]
    expect("g: requests, ours and the sandbox's", sum(sum(c.counts["statuses"].values()) for c in costs), len(seen))
    in_time = [request["time"] for request in seen if request["time"] < starts + SECONDS]
    rate, most = len(in_time) / SECONDS, busiest_second(request["time"] for request in seen)
    refused = sum(request["status"] == 429 for request in seen)
    name = f"{processes} processes"
    line = Line(
        "g", name, len(in_time), None, sum(cost.cpu_s for cost in costs), max(cost.peak_mib for cost in costs), None,
        f"{rate:.2f} requests/s, at most {most} in a second, {refused} × 429",
    )  # fmt: skip
    return Found(
        [line],
        [
            Target("g", f"requests/s, {name}", rate, 9.0, False),
            Target("g", f"most in a second, {name}", most, 10, True),
            Target("g", f"answers 429, {name}", refused, 0, True),
        ],
    )
