"""Cases a and e: the first load, from the source to payloads that are ready to be sent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.bench import Bench, expect, remove, say
from tests.bench.measure import Cost
from tests.bench.names import BATCH, DAY1
from tests.bench.opponents import WHY_NOT_DRT
from tests.bench.results import OURS, Found, Line, Target, lines

#: Amazon takes 10 requests a second with 10,000 items each (``catalog_validations``).
CEILING = 100_000.0
#: Opponent → its module, and which planted rows it lets pass, since it has no such rule.
OPPONENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "naive": ("tests.bench.opponents.naive", ()),
    "dlt": ("tests.bench.opponents.with_dlt", ("DUPLICATE_KEY",)),
    "singer": ("tests.bench.opponents.with_singer", ("DUPLICATE_KEY", "BARCODE_CHECK_DIGIT")),
}
GIB = 1024.0
#: How many times as fast as each opponent the project wants to be.
AIMS = {"naive": 8.0, "dlt": 5.0, "singer": 5.0}


def first_load(bench: Bench) -> Found:
    """Case a: ours, the floor and the opponents in turn. Where the opponents have fewer rows, rates are compared.

    Theirs hardly depend on the number of rows: from 100,000 to 1,000,000 rows they went from 42,000 to 43,000 rows a
    second (naive), from 30,000 to 28,000 (Singer) and from 12,800 to 14,300 (dlt). ``--size 1m`` gives all the same.
    """
    rows, fewer = bench.rows, bench.opponent_rows
    accepted, items = bench.planted(rows)["accepted"], bench.folder / "items.parquet"
    _ready_items(bench, rows, items)
    contenders: dict[str, Callable[[], Cost]] = {
        OURS: lambda: _ours(bench, rows),
        "floor": lambda: _floor(bench, items, accepted),
        **{name: partial(_theirs, bench, fewer, name) for name in OPPONENTS},
    }
    costs = bench.alternate("a", contenders)
    expect("a: bytes of the payloads", costs[OURS].counts["bytes"], costs["floor"].counts["bytes"])
    planted = bench.planted(fewer)
    notes = {name: f"accepts {_passed(planted, name):,} bad rows" for name, (_, codes) in OPPONENTS.items() if codes}
    made = lines("a", rows, costs, dict.fromkeys(OPPONENTS, fewer), notes)
    ratio = {line.opponent: line.ratio or 0.0 for line in made}
    mine = rows / costs[OURS].seconds
    made.append(
        Line("a", "Amazon's ceiling", rows, CEILING, None, None, mine / CEILING, "10 requests/s × 10,000 items")
    )
    made.append(_drt(bench))
    return Found(
        made,
        [
            *(Target("a", f"times {name}, rows/s", ratio[name], limit, False) for name, limit in AIMS.items()),
            Target("a", "times the floor's time", 1 / ratio["floor"], 3.0, True),
            Target("a", "times Amazon's ceiling", mine / CEILING, 4.0, False),
            Target("a", "peak MiB of one process", costs[OURS].peak_mib, GIB, True),
        ],
    )


def _drt(bench: Bench) -> Line:
    """Say why drt is not measured. Should it learn to sign, the benchmark says so: then it has to be measured."""
    kinds = bench.theirs("tests.bench.opponents.with_drt").counts["auth"]
    expect("a: drt's kinds of authentication", kinds, ["api_key", "basic", "bearer", "oauth2_client_credentials"])
    return Line("a", "drt", 0, None, None, None, None, WHY_NOT_DRT)


def _ours(bench: Bench, rows: int) -> Cost:
    lake = bench.fresh("lake")
    place = bench.place(lake, bench.data(rows) / DAY1)
    bench.restore_ledger()
    cost = bench.ours("tests.bench.ours", "night", place.as_json(), "first-load")
    check_first_load(bench.planted(rows), cost.counts)
    remove(lake)
    return cost


def check_first_load(planted: dict[str, Any], told: dict[str, Any]) -> None:
    """Hold our counts of a first load to what was planted."""
    expect("a: rows planned", told["planned"], planted["accepted"])
    expect("a: rows rejected, by rule", told["rejected"], planted["rejected"])
    expect("a: payloads", told["payloads"], -(-planted["accepted"] // BATCH))


def _ready_items(bench: Bench, rows: int, file: Path) -> None:
    """Make what the floor reads: the items exactly as we send them, so that it has nothing to do but encode."""
    say("making the floor's items")
    lake = bench.fresh("lake")
    place = bench.place(lake, bench.data(rows) / DAY1)
    bench.restore_ledger()
    bench.ours("tests.bench.ours", "night", place.as_json(), "first-load")
    bench.ours("tests.bench.floors", "items", str(lake / "runs" / "first-load" / "batches"), str(file))
    remove(lake)


def _floor(bench: Bench, items: Path, accepted: int) -> Cost:
    folder = bench.fresh("floor")
    cost = bench.ours("tests.bench.floors", "payloads", str(items), str(folder))
    expect("a: items of the floor", cost.counts["accepted"], accepted)
    remove(folder)
    return cost


def _theirs(bench: Bench, rows: int, name: str) -> Cost:
    folder = bench.fresh(name)
    cost = bench.theirs(OPPONENTS[name][0], str(bench.data(rows) / DAY1), str(folder))
    planted = bench.planted(rows)
    expect(f"a: items of {name}", cost.counts["accepted"], planted["accepted"] + _passed(planted, name))
    remove(folder)
    return cost


def _passed(planted: dict[str, Any], name: str) -> int:
    """Return how many bad rows the opponent lets pass."""
    return sum(planted["rejected"][code] for code in OPPONENTS[name][1])


def sharded_load(bench: Bench, rows: int) -> Found:
    """Case e: a first load through shards, a process for each stage and shard, as Airflow does it."""
    lake = bench.fresh("lake")
    place = bench.place(lake, bench.data(rows) / DAY1)
    bench.restore_ledger()
    costs: list[Cost] = []

    def stage(*what: str) -> Cost:
        cost = bench.ours("tests.bench.ours", what[0], place.as_json(), "first-load", *what[1:])
        say(f"e {' '.join(what)}: {cost.seconds:.1f} s, {cost.peak_mib:.0f} MiB")
        costs.append(cost)
        return cost

    stage("extract")
    for shard in stage("shards").counts["shards"]:
        stage("prepare", shard)
    check_first_load(bench.planted(rows), stage("plan").counts)
    remove(lake)
    seconds, peak = sum(cost.seconds for cost in costs), max(cost.peak_mib for cost in costs)
    line = Line(
        "e", OURS, rows, rows / seconds, sum(cost.cpu_s for cost in costs), peak, 1.0, f"{len(costs)} processes"
    )
    return Found([line], [Target("e", "peak MiB of one process", peak, 1.3 * GIB, True)])
