"""Cases b, c and d: a night after the first load, and the settling of the first load itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tests.bench.bench import Bench, expect, remove, say
from tests.bench.measure import Cost
from tests.bench.names import BATCH, DAY1, DAY2
from tests.bench.results import OURS, Found, Line, Target, lines

READ = "read source and state once"


def prepare(bench: Bench) -> dict[str, Any]:
    """Make the states that the cases start from, once."""
    folder = bench.folder / "states"
    if not folder.exists():
        folder.mkdir()
        say("making the state: a first load, acknowledged")
        place = bench.place(folder / "lake", bench.data(bench.rows) / DAY1)
        _STATE.update(bench.ours("tests.bench.state", place.as_json(), str(folder)).counts)
        expect("state: rows sent", _STATE["rows"], bench.planted(bench.rows)["accepted"])
    return _STATE


_STATE: dict[str, Any] = {}


def changed_night(bench: Bench) -> Found:
    """Case b: 2 % of the rows have another price."""
    return _night(bench, "b", DAY2, bench.planted(bench.rows)["changed"])


def quiet_night(bench: Bench) -> Found:
    """Case c: nothing changed. Nothing may be sent, and no payload written."""
    found = _night(bench, "c", DAY1, 0)
    say("c: the same night to its end, books and all, not measured")
    before = len(bench.services.requests())
    states, run_id = bench.folder / "states", bench.fresh("c").name
    bench.restore_ledger(states / "settled.json")
    place = bench.place(states / "settled", bench.data(bench.rows) / DAY1)
    books = bench.ours("tests.bench.ours", "whole", place.as_json(), run_id).counts
    expect("c: rows unchanged", books["total"]["unchanged"], _STATE["rows"] - _STATE["refused"])
    remove(Path(place.lake) / "runs" / run_id)
    requests = len(bench.services.requests()) - before
    return found + Found([], [Target("c", "requests sent", requests, 0, True)])


def _night(bench: Bench, case: str, day: str, changed: int) -> Found:
    state = prepare(bench)
    states, source = bench.folder / "states", bench.data(bench.rows) / day
    place = bench.place(states / "settled", source)

    def ours() -> Cost:
        run_id = bench.fresh(case).name
        bench.restore_ledger(states / "settled.json")
        cost = bench.ours("tests.bench.ours", "night", place.as_json(), run_id)
        told = cost.counts
        expect(f"{case}: rows planned", told["planned"], changed)
        expect(f"{case}: payloads", told["payloads"], -(-changed // BATCH))
        expect(f"{case}: rows read", told["counts"]["read"], bench.rows)
        remove(Path(place.lake) / "runs" / run_id)
        return cost

    def read() -> Cost:
        cost = bench.ours("tests.bench.floors", "read", str(source), str(place.table))
        expect(f"{case}: rows of the state", cost.counts["state"], state["rows"] - state["refused"])
        return cost

    costs = bench.alternate(case, {OURS: ours, READ: read})
    times = costs[OURS].seconds / costs[READ].seconds
    targets = [Target(case, f"times the time to {READ}", times, 2.0, True)]
    if not changed:
        targets.append(Target(case, "payloads written", costs[OURS].counts["payloads"], 0, True))
    return Found(lines(case, bench.rows, costs), targets)


def settling(bench: Bench) -> Found:
    """Case d: settle the first load, a report for every 10,000 rows."""
    state = prepare(bench)
    states = bench.folder / "states"

    def ours() -> Cost:
        lake = bench.fresh("unsettled")
        # What a run writes is immutable, so links do.
        shutil.copytree(states / "unsettled", lake, copy_function=os.link)
        bench.restore_ledger(states / "unsettled.json")
        place = bench.place(lake, bench.data(bench.rows) / DAY1)
        cost = bench.ours("tests.bench.ours", "settle", place.as_json(), "settling")
        wanted = {"acknowledged": state["rows"] - state["refused"], "refused": state["refused"]}
        expect("d: outcomes", {key: n for key, n in cost.counts["outcomes"].items() if n}, _positive(wanted))
        expect("d: attempts", cost.counts["settled"], state["batches"])
        remove(lake)
        return cost

    cost = bench.alternate("d", {OURS: ours})[OURS]
    note = f"{state['batches']} reports"
    line = Line("d", OURS, state["rows"], state["rows"] / cost.seconds, cost.cpu_s, cost.peak_mib, 1.0, note)
    return Found([line], [Target("d", "CPU seconds", cost.cpu_s, 5.0, True)])


def _positive(counts: dict[str, int]) -> dict[str, int]:
    return {key: number for key, number in counts.items() if number}
