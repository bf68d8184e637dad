"""The catalog as Amazon holds it: per store the items, their state, and who owns which barcode.

Rows are kept as compact JSON (a list of the known fields in a fixed order), so that a million of them fit in well under
a gigabyte. Not thread-safe by itself; its owner holds the lock.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from catalog_sandbox.barcodes import BadBarcode, number_of

#: The fields of an item (``upload_catalog``).
FIELDS = (
    "item_sku",
    "external_product_id",
    "external_product_id_type",
    "additional_external_product_information",
    "item_name",
    "store_id",
    "standard_price",
    "brand_name",
    "product_tax_code",
    "product_category",
    "product_subcategory",
)
_KNOWN = frozenset(FIELDS)
#: Stands for a field that was not sent, which is not the same as an empty one.
_ABSENT = None

ACTIVE, ARCHIVED = "ACTIVE", "ARCHIVED"
_LETTERS = {ACTIVE: b"A", ARCHIVED: b"R"}

#: ``catalog_data_overview``: alphanumeric, no special characters; Amazon's own examples (``TEST-001``) have a hyphen.
_SKU = re.compile(r"[A-Za-z0-9._-]+")
#: ``catalog_maintenance``: 1 to 100 characters, no high-ASCII characters.
_NAME = re.compile(r"[ -~]{1,100}")
#: U17: not negative, a dot, at most two decimals.
_PRICE = re.compile(r"\d+(\.\d{1,2})?")


@dataclass(frozen=True)
class Refusal:
    """Why an item was not applied."""

    code: str
    message: str


def pack(item: dict[str, Any]) -> bytes:
    """Return an item as a JSON list of its known fields, then what else it had."""
    values = [item.get(field, _ABSENT) for field in FIELDS]
    extra = {key: value for key, value in item.items() if key not in _KNOWN}
    text = json.dumps([*values, extra] if extra else values, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")  # JSON may hold half of a character pair; json.loads takes it back


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the item as it was received."""
    values = json.loads(packed)
    item = {field: value for field, value in zip(FIELDS, values, strict=False) if value is not _ABSENT}
    if len(values) > len(FIELDS):
        item.update(values[-1])
    return item


def _state(row: bytes) -> str:
    return ACTIVE if row.startswith(_LETTERS[ACTIVE]) else ARCHIVED


def barcodes_of(item: dict[str, Any]) -> tuple[int, ...]:
    """Return every barcode of an item as GTIN-14 numbers, the main one first. Raises BadBarcode."""
    pairs = [item, *item.get("additional_external_product_information", ())]
    numbers = (number_of(pair["external_product_id"], pair.get("external_product_id_type", "")) for pair in pairs)
    return tuple(dict.fromkeys(numbers))


def judge(item: dict[str, Any]) -> Refusal | tuple[int, ...]:
    """Judge an item by itself, as processing does (V10, V11, V12, V14); return its barcodes or the refusal."""
    if not _SKU.fullmatch(item["item_sku"]):
        return Refusal("SKU_FORMAT", "item_sku has characters other than letters, digits, '.', '_' and '-'")
    if not _NAME.fullmatch(item["item_name"]):
        return Refusal("ITEM_NAME", "item_name must be 1 to 100 printable ASCII characters")
    price = item.get("standard_price", "")
    if price and not (_PRICE.fullmatch(price) and price.isascii()):
        return Refusal("PRICE_FORMAT", "standard_price must be a non-negative number with at most two decimals")
    try:
        return barcodes_of(item)
    except BadBarcode as error:
        return Refusal(error.code, str(error))


class Catalog:
    """Items by store and SKU. A row is the letter of its state and then the packed item."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, bytes]] = {}
        #: Per store: barcode number -> the one ACTIVE SKU that has it.
        self._holders: dict[str, dict[int, str]] = {}

    def upsert(self, item: dict[str, Any]) -> Refusal | None:
        """Insert or replace one item, which becomes ACTIVE (U34); None when applied.

        A refused item leaves the row that was there as it was (U35). A barcode that another ACTIVE SKU of the store has
        is refused (U21): it moves only once its holder gave it up, by an earlier item or an archive (U36).
        """
        barcodes = judge(item)
        if isinstance(barcodes, Refusal):
            return barcodes
        store, sku = item["store_id"], item["item_sku"]
        holders = self._holders.setdefault(store, {})
        for barcode in barcodes:
            if holders.get(barcode, sku) != sku:
                return Refusal("BARCODE_IN_USE", f"barcode {abs(barcode):014d} belongs to SKU {holders[barcode]}")
        rows = self._rows.setdefault(store, {})
        self._release(holders, sku, rows.get(sku))
        rows[sku] = _LETTERS[ACTIVE] + pack(item)
        holders.update(dict.fromkeys(barcodes, sku))
        return None

    def archive(self, sku: str, stores: tuple[str, ...]) -> Refusal | None:
        """Archive a SKU in all the stores that have it; None when done (``archive_catalog_api``)."""
        found = [store for store in stores if sku in self._rows.get(store, {})]
        if not found:
            return Refusal("SKU_NOT_FOUND", "item_sku matches no active product")
        active = [store for store in found if _state(self._rows[store][sku]) == ACTIVE]
        if not active:
            return Refusal("SKU_ALREADY_ARCHIVED", "item_sku is already archived")
        for store in active:
            row = self._rows[store][sku]
            self._release(self._holders[store], sku, row)
            self._rows[store][sku] = _LETTERS[ARCHIVED] + row[1:]
        return None

    @staticmethod
    def _release(holders: dict[int, str], sku: str, row: bytes | None) -> None:
        if row is None or _state(row) == ARCHIVED:
            return
        for barcode in barcodes_of(unpack(row[1:])):
            del holders[barcode]

    def packed(self, store: str) -> list[tuple[str, bytes]]:
        """Return store and row of each of a store's items, by SKU, as they are now; ``opened`` reads them."""
        return [(store, row) for _, row in sorted(self._rows.get(store, {}).items())]

    @staticmethod
    def opened(store: str, row: bytes) -> dict[str, Any]:
        """Return an item as received plus its ``state`` and ``store``."""
        return {**unpack(row[1:]), "state": _state(row), "store": store}

    def counts(self) -> dict[str, dict[str, int]]:
        """Return per store how many items are in which state."""
        counts = {}
        for store, rows in sorted(self._rows.items()):
            active = sum(_state(row) == ACTIVE for row in rows.values())
            counts[store] = {ACTIVE: active, ARCHIVED: len(rows) - active}
        return counts
