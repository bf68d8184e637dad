"""What became of an accepted request: one object per ingestion, and how its items are applied to the catalog.

States and their order: ``INQUEUE -> INPROGRESS -> DONE | CANCELLED | FATAL`` (``get_catalog_upload_status``).
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from catalog_sandbox.catalog import Catalog, Refusal
from catalog_sandbox.faults import Faults
from catalog_sandbox.reports import Line, line

INQUEUE, INPROGRESS, DONE, CANCELLED, FATAL = "INQUEUE", "INPROGRESS", "DONE", "CANCELLED", "FATAL"
TERMINAL = frozenset({DONE, CANCELLED, FATAL})


@dataclass
class Ingestion:
    """An accepted upload or archive request. Times are the sandbox clock's unix seconds."""

    id: str
    operation: str
    account: str
    items: int
    accepted_at: float
    #: The compressed body, dropped once it is processed.
    body: bytes | None
    fault: str | None = None
    status: str = INQUEUE
    started_at: float | None = None
    ended_at: float | None = None
    #: When the stores know its items (U32).
    populated_at: float | None = None
    succeeded: int = 0
    failed: int = 0
    report: bytes | None = None
    report_fault: str | None = None

    def record(self) -> dict[str, Any]:
        """Return what the control plane shows of it: everything but the body and the report."""
        return {
            "ingestion_id": self.id,
            "operation": self.operation,
            "account": self.account,
            "status": self.status,
            "items": self.items,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "accepted_at": self.accepted_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "populated_at": self.populated_at,
            "fault": self.fault,
            "report_fault": self.report_fault,
        }


def keep(raw: bytes) -> bytes:
    """Return a request body in the form in which it waits for its processing."""
    return zlib.compress(raw, 1)


def kept(stored: bytes) -> dict[str, Any]:
    """Return the request body that ``keep`` stored."""
    body: dict[str, Any] = json.loads(zlib.decompress(stored))
    return body


def _refused(catalog: Catalog, faults: Faults, item: dict[str, Any]) -> Refusal | None:
    if faults.refuses(item["store_id"], item["item_sku"]):
        return Refusal("ITEM_REFUSED", "the item was refused")
    return catalog.upsert(item)


def apply_upload(catalog: Catalog, faults: Faults, items: list[dict[str, Any]]) -> list[Line]:
    """Apply items in the order of the request; return one line per item.

    Of several items with the same store and SKU only the last is applied; the others share its outcome and carry a
    warning (U20).
    """
    last = {(item["store_id"], item["item_sku"]): number for number, item in enumerate(items)}
    outcomes: dict[tuple[str, str], Refusal | None] = {}
    for number, item in enumerate(items):
        key = (item["store_id"], item["item_sku"])
        if last[key] == number:
            outcomes[key] = _refused(catalog, faults, item)
    lines = []
    for number, item in enumerate(items):
        key = (item["store_id"], item["item_sku"])
        refusal = outcomes[key]
        entry = line(key[1], key[0], refusal.code, refusal.message) if refusal else line(key[1], key[0])
        if last[key] != number:
            entry["warningCode"] = "DUPLICATE_ITEM"
            entry["warningMessage"] = "a later item of the request has the same SKU and store; that one counts"
        lines.append(entry)
    return lines


def apply_archive(catalog: Catalog, faults: Faults, skus: list[str], stores: tuple[str, ...]) -> list[Line]:
    """Archive SKUs in all the retailer's stores; return one line per SKU, with no store."""
    planogram = frozenset(faults.plan.planogram)
    lines = []
    for sku in skus:
        if sku in planogram:
            lines.append(line(sku, "", "SKU_ON_PLANOGRAM", "item_sku is still on a planogram; remove it there first"))
            continue
        refusal = catalog.archive(sku, stores)
        lines.append(line(sku, "", refusal.code, refusal.message) if refusal else line(sku, ""))
    return lines
