"""The report of an ingestion: its assumed shape (U14) and the ways in which a fault damages it.

``{"ingestionId", "processingStatus", "summary": {"totalItems", "succeeded", "failed"}, "items": [{"itemSku", "storeId",
"status": "SUCCESS" | "FAILED", "errorCode", "errorMessage"}]}``. An archive has one line per SKU with an empty
``storeId``. A line may have a ``warningCode`` and a ``warningMessage`` besides.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

SUCCESS, FAILED = "SUCCESS", "FAILED"

Line = dict[str, Any]


def line(sku: str, store: str, code: str = "", message: str = "") -> Line:
    """Return one line of a report; without a code it is a success."""
    status = FAILED if code else SUCCESS
    return {"itemSku": sku, "storeId": store, "status": status, "errorCode": code, "errorMessage": message}


def build(ingestion_id: str, status: str, lines: list[Line], total: int, failures_only: bool) -> dict[str, Any]:
    """Return a report. The summary counts all items whatever is listed; what no line speaks for counts as failed."""
    succeeded = sum(entry["status"] == SUCCESS for entry in lines)
    listed = [entry for entry in lines if entry["status"] != SUCCESS] if failures_only else lines
    return {
        "ingestionId": ingestion_id,
        "processingStatus": status,
        "summary": {"totalItems": total, "succeeded": succeeded, "failed": total - succeeded},
        "items": listed,
    }


def _fields_missing(report: dict[str, Any]) -> None:
    for number, entry in enumerate(report["items"]):
        if number % 3 == 0:
            del entry["status"]
        elif number % 3 == 1:
            del entry["errorCode"], entry["errorMessage"]


def _unknown_fields(report: dict[str, Any]) -> None:
    report["schemaVersion"] = "2"
    report["summary"]["warnings"] = 0
    for number, entry in enumerate(report["items"]):
        entry["severity"] = "INFO"
        if number % 10 == 0:
            entry["status"] = "DEFERRED"


def _unlisted(report: dict[str, Any]) -> None:
    report["items"] = report["items"][1::2]


_DAMAGE = {
    "report_fields_missing": _fields_missing,
    "report_unknown_fields": _unknown_fields,
    "report_unlisted": _unlisted,
}


def write(report: dict[str, Any], fault: str | None) -> bytes:
    """Return the compressed bytes of a report as the fault, if any, leaves them."""
    if fault in _DAMAGE:
        _DAMAGE[fault](report)
    data = json.dumps(report, separators=(",", ":")).encode()
    if fault == "report_truncated":
        data = data[: len(data) // 2]
    return zlib.compress(data, 6)


def read(stored: bytes) -> bytes:
    """Return the bytes of a stored report as they are served."""
    return zlib.decompress(stored)
