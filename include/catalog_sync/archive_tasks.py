"""What stores have to do before a SKU can be archived: a list for each run, of what Amazon refused for a planogram."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.contract.report import people_csv
from catalog_sync.fields import KEY
from catalog_sync.reports import on_planogram
from catalog_sync.tables import ARCHIVE, Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: Amazon, ``archive_sku_manual``: removed physically and virtually, and replaced by another item in all locations.
WHAT_TO_DO = (
    "Take the item off the shelf. Then scan the item that takes its place with the Planogram tool of the handheld, at "
    "every location. The archive is asked for again."
)
#: Where the list lies, in the run's prefix.
NAME = "tasks/archive.csv"
_READ = [*KEY, "outcome", "code", "message", "content_hash"]


def write_tasks(run: Run, outcomes: Iterable[str]) -> dict[str, Any]:
    """Write the list, unless nothing was refused, and return its number of ``rows`` and its ``url``.

    :param outcomes: the keys of what became of the attempts that the run has settled.
    """
    told = pl.concat([pl.DataFrame(schema=dict.fromkeys(_READ, pl.String)), *_archives(run, outcomes)])
    text = pl.concat_str("code", pl.lit(" "), "message")
    rows = told.filter((pl.col("outcome") == "refused") & on_planogram(text)).unique(KEY)
    if rows.is_empty():
        return {}
    known = ["item_name", "external_product_id"]
    items = Tables(run.lake).read("acknowledged", rows["store_id"].unique(), [*KEY, *known], skus=rows["item_sku"])
    lines = rows.join(items, on=list(KEY), how="left").with_columns(what_to_do=pl.lit(WHAT_TO_DO)).sort(KEY)
    key = run.key(NAME)
    run.lake.put(key, people_csv(lines.select(*KEY, *known, "code", "message", "what_to_do")))
    return {"rows": len(lines), "url": run.lake.url(key)}


def _archives(run: Run, outcomes: Iterable[str]) -> Iterable[pl.DataFrame]:
    for key in outcomes:
        frame = run.lake.get_frame(key) if run.lake.exists(key) else pl.DataFrame()
        if "listed" in frame.columns:
            yield frame.filter(pl.col("listed") & (pl.col("content_hash") == ARCHIVE)).select(_READ)
