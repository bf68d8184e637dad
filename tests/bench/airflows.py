"""Cases f and h, from what one whole Airflow did (see ``whole_airflow``)."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.bench.bench import Bench, expect, remove, say
from tests.bench.measure import Cost
from tests.bench.names import BATCH, DAY1
from tests.bench.results import OURS, Found, Line, Target

_DONE: dict[int, dict[str, Any]] = {}


def _whole(bench: Bench) -> dict[str, Any]:
    """Run the whole once for both cases."""
    if bench.rows not in _DONE:
        folder = bench.fresh("whole")
        folder.mkdir()
        say(f"f, h: a whole Airflow, {bench.rows:,} rows")
        source = bench.data(bench.rows) / DAY1
        arguments = (str(folder), str(source), str(bench.runs))
        done = bench.ours("tests.bench.whole_airflow", *arguments, talks=True).counts
        expect("f: upload requests", done["sent"], -(-bench.planted(bench.rows)["accepted"] // BATCH))
        expect("h: upload requests in quiet nights", done["sent_in_quiet_nights"], 0)
        remove(folder)
        _DONE[bench.rows] = done
    return _DONE[bench.rows]


def fan_out(bench: Bench) -> Found:
    """Case f: mapped upload tasks, a full batch each, against as many empty ones in the same Airflow."""
    done = _whole(bench)
    upload, empty = done["upload"], done["empty"]
    more = upload["cpu_each"] - empty["cpu_each"]
    lines = [
        _tasks(OURS, upload, upload["cpu_each"] / empty["cpu_each"]),
        _tasks("empty tasks", empty, 1.0),
        _split(bench),
    ]
    return Found(lines, [Target("f", "CPU s more per upload than per empty task", more, 0.5, True)])


def _tasks(name: str, told: dict[str, Any], times: float) -> Line:
    note = f"CPU s per task; {told['tasks']} tasks in {told['seconds']:.0f} s; {times:.1f} × an empty one"
    return Line("f", name, 0, None, told["cpu_each"], None, None, note)


def _split(bench: Bench) -> Line:
    """Return where the CPU seconds of one upload go, measured without Airflow."""
    rows = 20_000  # two batches, the first of them full
    lake = bench.fresh("lake")
    place = bench.place(lake, bench.data(rows) / DAY1)
    costs: list[Cost] = []
    for _ in range(bench.runs):
        bench.restore_ledger()
        run_id = bench.fresh("split").name
        bench.ours("tests.bench.ours", "night", place.as_json(), run_id)
        costs.append(bench.ours("tests.bench.upload_split", place.as_json(), run_id))
    remove(lake)
    expect("f: items of a batch", costs[-1].counts["items"], BATCH)
    parts = ", ".join(
        f"{part} {median(cost.counts['cpu'].get(part, 0.0) for cost in costs):.2f}" for part in costs[0].counts["cpu"]
    )
    whole = median(cost.counts["whole"] for cost in costs)
    peak = median(cost.peak_mib for cost in costs)
    return Line("f", "one upload, no Airflow", BATCH, None, whole, peak, None, parts)


def whole_dag(bench: Bench) -> Found:
    """Case h: a quiet night on a warm Airflow, from the trigger to success."""
    nights = sorted(_whole(bench)["quiet"], key=lambda night: night["night"])
    middle = nights[len(nights) // 2]
    seconds = middle["night"]
    lines = [Line("whole DAG", OURS, bench.rows, bench.rows / seconds, None, None, 1.0, f"{seconds:.1f} s")]
    for task in middle["split"]:
        if task["started"] is not None:
            ran = task["ended"] - task["started"]
            note = f"started at {task['started']:.1f} s, ran {ran:.1f} s ({task['state']})"
            lines.append(Line("whole DAG", f"task {task['task']}", 0, None, None, None, None, note))
    return Found(lines, [Target("whole DAG", "seconds from trigger to success", seconds, 30.0, True)])
