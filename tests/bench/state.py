"""The state that the nights and the settling start from: a first load whose reports are archived, then settled.

Everything is written by the project's own functions, in the order of a real night. Only the way to Amazon and back is
left out: each attempt is recorded as accepted and done, and its report is written as the sandbox writes them. Every
thousandth item is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.child import tell
from tests.bench.deployment import open_run, restore_ledger, save_ledger
from tests.bench.place import Place

from catalog_sync.attempts import AttemptKey, State
from catalog_sync.collect import report_key
from catalog_sync.doubt import attempts_of
from catalog_sync.lease import Lease
from catalog_sync.run import Run
from catalog_sync.settle import settle
from catalog_sync.sync import make_plan

#: In each batch the item at this place of every thousand is refused.
REFUSED_EVERY, REFUSED_AT = 1000, 999
UNSETTLED, SETTLED = "unsettled", "settled"


def refused(batch_items: int) -> int:
    """Return how many items of a batch of that size are refused."""
    return (batch_items + REFUSED_EVERY - 1 - REFUSED_AT) // REFUSED_EVERY


def report(ingestion_id: str, keys: list[tuple[str, str]]) -> bytes:
    """Return Amazon's report on a batch of items, given as store and SKU."""
    items: list[dict[str, Any]] = []
    for place, (store, sku) in enumerate(keys):
        no = place % REFUSED_EVERY == REFUSED_AT
        items.append(
            {
                "itemSku": sku,
                "storeId": store,
                "status": "FAILED" if no else "SUCCESS",
                "errorCode": "INVALID_BARCODE" if no else None,
                "errorMessage": "the barcode is not known" if no else None,
            }
        )
    failed = refused(len(keys))
    summary = {"totalItems": len(keys), "succeeded": len(keys) - failed, "failed": failed}
    whole = {"ingestionId": ingestion_id, "processingStatus": "DONE", "summary": summary, "items": items}
    return json.dumps(whole).encode()


def send_everything(run: Run) -> None:
    """Record every batch of the plan as sent, accepted, done, and its report as archived."""
    attempts, number = attempts_of(run), run.plan["plan_number"]
    for batch in run.plan["batch_list"]:
        key, now = AttemptKey(run.run_id, batch["number"], 1), time.time()
        ingestion_id = f"ingestion-{batch['number']:05d}"
        attempt = attempts.begin(key, 0, batch["items"], number, now)
        attempts.accepted(attempt, ingestion_id, now, 0.1)
        attempts.report(ingestion_id, State.DONE, "", now, "notice")
        done = attempts.get(key)
        assert done is not None
        rows = run.lake.get_frame(batch["rows_key"], ["store_id", "item_sku"])
        run.lake.create_compressed(report_key(done), report(ingestion_id, list(rows.iter_rows())))
        attempts.archived(done, report_key(done), now)
    Lease.of(run).release(number, run.run_id)


def prepare(place: Place, folder: Path) -> dict[str, Any]:
    """Make both states below the folder: the lakes, and the ledger as a JSON file beside each."""
    restore_ledger(place.aws_url)
    run = open_run(place, "first-load")
    made = make_plan(run, lambda name, counts: None)
    send_everything(run)
    save_ledger(place.aws_url, folder / f"{UNSETTLED}.json")
    shutil.copytree(place.lake, folder / UNSETTLED)
    settle(run)
    save_ledger(place.aws_url, folder / f"{SETTLED}.json")
    sizes = [batch["items"] for batch in run.plan["batch_list"]]
    Path(place.lake).rename(folder / SETTLED)
    return {"rows": made["rows"], "batches": made["batches"], "refused": sum(refused(size) for size in sizes)}


if __name__ == "__main__":
    tell(lambda: prepare(Place.of(sys.argv[1]), Path(sys.argv[2])))
