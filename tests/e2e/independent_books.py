"""The books of a run, computed a second time by other means, so that one mistake cannot hide in both.

Written from invariant I6 and the definition of the books alone; it shares no code with the program that it checks. It
reads what a run left in the lake, the sources themselves, and the sandbox's own record (see ``independent_record``).

    python -m tests.e2e.independent_books --lake s3://acme-catalog/jwo --endpoint http://127.0.0.1:8091 --run RUN \\
        --sandbox http://127.0.0.1:8090 --source merch=merch_items.csv,store,sku \\
        --source erp=erp.sqlite,store_no,item_no,items

It takes for granted that every ingestion has ended and that no later run has sent anything. A batch that Amazon
rejected whole, and of which no part was sent again, counts as refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tests.e2e.independent_record import Judge, Key, Lake, RawSource, Sandbox, extracted, lines, tidy

NO_STORE = "–"
READ_INTO = (
    "out_of_scope", "merged_away", "collapsed", "rejected", "unchanged", "suspended", "in_doubt", "held", "planned",
)  # fmt: skip
PLANNED_INTO = ("sent", "unsent")
SENT_INTO = ("acknowledged", "refused", "failed", "unknown")
COLUMNS = ("read", *READ_INTO, *PLANNED_INTO, *SENT_INTO)
Books = dict[str, dict[str, int]]


def books(
    lake: Lake,
    run: str,
    sandbox_url: str,
    sources: Sequence[RawSource] = (),
    before: Iterable[Mapping[str, Any]] | None = None,
) -> tuple[Books, list[str]]:
    """Return the run's books by store, and what is wrong.

    :param run: the run's prefix in the lake, ``runs/<run id>``.
    :param sources: files to read again; a source that is not given is taken from what the run extracted.
    :param before: the sandbox's catalog as it was before the run; unchanged rows must stand in it.
    """
    made: dict[str, Counter[str]] = defaultdict(Counter)
    problems: list[str] = []
    about = lake.json(f"{run}/run.json")
    per_source, unreadable = _read(lake, run, sources, problems)
    made[NO_STORE].update(read=unreadable, rejected=unreadable)
    rows = _merge(per_source, set(about["options"]["stores"]), made)
    manifests = [
        lake.json(f"{run}/prepare/{shard['name']}.json") for shard in lake.json(f"{run}/shards.json")["shards"]
    ]
    skus = set(about["options"]["skus"])
    accepted = _accept(rows, [lake.table(key) for one in manifests for key in one["rejects"]], skus, made, problems)
    plan = lake.json(f"{run}/plan.json")
    payloads = [lake.get(batch["key"]) or b"" for batch in plan["batch_list"]]
    planned = Counter(
        (item["store_id"], item["item_sku"]) for data in payloads for item in json.loads(data)["catalogItems"]
    )
    problems += [f"{key}: planned {times} times" for key, times in planned.items() if times > 1]
    problems += [f"{key}: planned, but not among the rows that passed" for key in planned.keys() - accepted]
    left = _set_aside(lake, manifests, accepted - planned.keys(), planned.keys(), made)
    if before is not None:
        active = {(item["store_id"], item["item_sku"]) for item in before if item["state"] == "ACTIVE"}
        problems += [f"{key}: called unchanged, but Amazon did not have it" for key in sorted(left - active)]
    sandbox = Sandbox() if plan["dry_run"] else Sandbox.read(sandbox_url, about["started_at"])
    judge = Judge(lake, run, sandbox)
    acknowledged = _send(payloads, judge, made)
    stray = sum(len(requests) for digest, requests in sandbox.requests.items() if digest not in judge.known)
    problems += [f"{stray} upload requests carried nothing that was planned"] if stray else []
    if acknowledged:
        problems += _absent(acknowledged, lines(sandbox_url, "/sandbox/catalog"))
    stores = {store: {column: counts[column] for column in COLUMNS} for store, counts in sorted(made.items())}
    stores = {store: counts for store, counts in stores.items() if any(counts.values())}
    return stores, problems + unbalanced(stores)


def _read(lake: Lake, run: str, sources: Sequence[RawSource], problems: list[str]) -> tuple[dict[str, list[Key]], int]:
    raw = {source.name: source for source in sources}
    found, unreadable = {}, 0
    for name in lake.names(f"{run}/extract"):
        manifest = lake.json(f"{run}/extract/{name}.json")
        keys, bad = raw[name].keys() if name in raw else (extracted(lake, manifest), manifest["unreadable"])
        if (len(keys), bad) != (manifest["rows"], manifest["unreadable"]):
            problems.append(
                f"{name}: has {len(keys)} + {bad} rows, the run says {manifest['rows']} + {manifest['unreadable']}"
            )
        found[name] = keys
        unreadable += bad
    return found, unreadable


def _merge(per_source: dict[str, list[Key]], asked: set[str], made: dict[str, Counter[str]]) -> Counter[Key]:
    """Count what was read, is out of scope and was merged away; return how many rows of each key remain."""
    counts: dict[Key, list[int]] = defaultdict(list)
    for keys in per_source.values():
        for key, rows in Counter(keys).items():
            line = made[key[0] or NO_STORE]
            line["read"] += rows
            if asked and key[0] not in asked:
                line["out_of_scope"] += rows
            else:
                counts[key].append(rows)
    remain: Counter[Key] = Counter()
    for key, several in counts.items():
        # One source keeps its rows, the one with most; the others' go into them. Without a whole key nothing merges.
        remain[key] = max(several) if all(key) else sum(several)
        made[key[0] or NO_STORE]["merged_away"] += sum(several) - remain[key]
    return remain


def _accept(
    rows: Counter[Key],
    rejects: Iterable[pd.DataFrame],
    skus: set[str],
    made: dict[str, Counter[str]],
    problems: list[str],
) -> set[Key]:
    """Count what was rejected, collapsed and left out by SKU; return the keys that passed."""
    rejected: Counter[Key] = Counter()
    for frame in rejects:
        once = frame.drop_duplicates("row_id")
        rejected.update((tidy(s), tidy(k)) for s, k in zip(once["store_id"], once["item_sku"], strict=True))
    problems += [f"{key}: rejected, but not read" for key in rejected.keys() - rows.keys() if not skus]
    passed = set()
    for key, number in rows.items():
        line, bad = made[key[0] or NO_STORE], rejected[key]
        wanted = not skus or key[1] in skus
        line["rejected"] += bad
        if bad > number:
            problems.append(f"{key}: {bad} rows rejected of {number}")
        elif number > bad:
            line["collapsed"] += number - bad - 1
            line["out_of_scope"] += not wanted
            if wanted:
                passed.add(key)
    return passed


def _set_aside(
    lake: Lake,
    manifests: Sequence[Mapping[str, Any]],
    rest: set[Key],
    planned: Iterable[Key],
    made: dict[str, Counter[str]],
) -> set[Key]:
    """Count what passed and was not planned by its reason; return the keys that are left: the unchanged."""
    reasons: dict[Key, str] = {}
    for manifest in manifests:
        for candidates in map(lake.table, manifest["rows"]):
            for store, sku, hold in zip(
                candidates["store_id"], candidates["item_sku"], candidates["hold"], strict=True
            ):
                reasons[store, sku] = "held" if hold else "in_doubt"
        for events in map(lake.table, manifest["events"]):
            suspended = events[events["what"] == "suspended"]
            reasons |= dict.fromkeys(zip(suspended["store_id"], suspended["item_sku"], strict=True), "suspended")
    for store, _ in planned:
        made[store]["planned"] += 1
    for key in rest:
        made[key[0]][reasons.get(key, "unchanged")] += 1
    return {key for key in rest if key not in reasons}


def _send(payloads: Iterable[bytes], judge: Judge, made: dict[str, Counter[str]]) -> dict[Key, Mapping[str, Any]]:
    """Count what became of what was planned; return the acknowledged items."""
    acknowledged = {}
    for data in payloads:
        for item, outcome in zip(json.loads(data)["catalogItems"], judge.judge(data), strict=True):
            line = made[item["store_id"]]
            line[outcome] += 1
            line["sent"] += outcome != "unsent"
            if outcome == "acknowledged":
                acknowledged[item["store_id"], item["item_sku"]] = item
    return acknowledged


def _absent(acknowledged: Mapping[Key, Mapping[str, Any]], catalog: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is called acknowledged, and is not in Amazon's catalog as it was sent."""
    there = {(item["store_id"], item["item_sku"]): item for item in catalog}
    for key, item in acknowledged.items():
        now = there.get(key, {})
        if now.get("state") != "ACTIVE" or any(now.get(name) != value for name, value in item.items()):
            yield f"{key}: acknowledged, but Amazon has not what was sent"


def unbalanced(stores: Books) -> list[str]:
    """Return which sums do not add up."""
    sums = (("read", READ_INTO), ("planned", PLANNED_INTO), ("sent", SENT_INTO))
    return [
        f"{store}: {whole} is {line[whole]}, its parts are {sum(line[part] for part in parts)}"
        for store, line in stores.items()
        for whole, parts in sums
        if line[whole] != sum(line[part] for part in parts)
    ]


def differences(mine: Books, theirs: Books) -> list[str]:
    """Return where two books differ, a line each."""
    return [
        f"{store}: {column} is {mine.get(store, {}).get(column, 0)} here, {theirs.get(store, {}).get(column, 0)} there"
        for store in sorted({*mine, *theirs})
        for column in COLUMNS
        if mine.get(store, {}).get(column, 0) != theirs.get(store, {}).get(column, 0)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the books and compare them with those that the run wrote; 0 when they agree and nothing is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lake", required=True)
    parser.add_argument("--endpoint", help="of S3; credentials come from the environment")
    parser.add_argument("--run", required=True, help="the run's name in the lake")
    parser.add_argument("--sandbox", required=True, help="base URL")
    parser.add_argument("--source", action="append", default=[], type=RawSource.of)
    parser.add_argument("--before", type=Path, help="/sandbox/catalog as it was before the run")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    lake, run = Lake(asked.lake, asked.endpoint), f"runs/{asked.run}"
    before = [json.loads(line) for line in asked.before.read_text().splitlines()] if asked.before else None
    mine, problems = books(lake, run, asked.sandbox, asked.source, before)
    theirs = lake.json(f"{run}/books.json") or lake.json(f"{run}/books-incomplete.json")
    problems += differences(mine, theirs["stores"]) if theirs else ["the run wrote no books"]
    if asked.json:
        json.dump({"stores": mine, "problems": problems}, sys.stdout, ensure_ascii=False, indent=1)
    else:
        print(pd.DataFrame(mine).T[list(COLUMNS)].to_string())
        print("\n".join(problems) or "Both books agree, and nothing is wrong.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
