"""The configuration of the deployment that schedules are played in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.chaos.rows import STORES

from catalog_sync.settings import Settings

#: Limits for stores of four rows, where guards are narrow.
NARROW = {
    "store": {
        "changed": {"percent": 50, "min_rows": 2}, "new": {"percent": 50, "min_rows": 2},
        "prices": {"percent": 25, "min_rows": 2}, "rejected": {"percent": 25, "min_rows": 2},
        "archived": {"percent": 25, "min_rows": 2},
    },
    "total": {
        "changed": {"percent": 60, "min_rows": 4}, "new": {"percent": 60, "min_rows": 4},
        "prices": {"percent": 40, "min_rows": 4}, "rejected": {"percent": 40, "min_rows": 4},
        "archived": {"percent": 40, "min_rows": 4},
    },
    "source": {"percent": 55, "min_rows": 2},
}  # fmt: skip
#: Complete runs that a SKU must be absent from before it is archived, where guards are narrow and where not; and how
#: many seconds apart, at least.
ARCHIVE_AFTER = {True: 1, False: 3}
APART = 12 * 3600.0
#: Seconds after which a source is stale, there.
FRESH = 24 * 3600.0


def settings(folder: Path, guarded: bool = False) -> Settings:
    """Return the configuration: batches of three items, and the default waits.

    :param guarded: guards have narrow limits, and a source older than a day is stale.
    """
    source: dict[str, Any] = {"name": "erp", "kind": "file", "path": str(folder / "items.csv"), "format": "csv"}
    return Settings.model_validate(
        {
            "retailer": "acme",
            "stores": {"ids": list(STORES)},
            "lake": str(folder / "lake"),
            "ledger": {"table": "Ledger"},
            "results": {"queue": "results", "topic_arn": "arn:aws:sns:us-east-1:1:T", "signed": False, "wait": "20s"},
            "api": {"max_items": 3},
            "sources": [{**source, **({"fresh_within": FRESH} if guarded else {})}],
            "mapping": {
                "item_sku": "item_no", "external_product_id": "gtin", "item_name": "descr",
                "standard_price": "retail", "store_id": "store_no",
            },
            "archive": {"after": ARCHIVE_AFTER[guarded], "apart": APART},
            **({"guards": NARROW} if guarded else {}),
        }
    )  # fmt: skip
