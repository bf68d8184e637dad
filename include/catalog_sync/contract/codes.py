"""The stable codes of the contract's rules. A code never changes its meaning and is never reused."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Each rule of the contract; what it asks is in ``docs/contract.md``."""

    ROW_UNREADABLE = "ROW_UNREADABLE"
    REQUIRED = "REQUIRED"
    NAME_TRIM = "NAME_TRIM"
    NAME_ASCII = "NAME_ASCII"
    NAME_LENGTH = "NAME_LENGTH"
    NUMERIC_CELL = "NUMERIC_CELL"
    BARCODE_PADDED = "BARCODE_PADDED"
    BARCODE_FORMAT = "BARCODE_FORMAT"
    BARCODE_LENGTH = "BARCODE_LENGTH"
    BARCODE_TYPE = "BARCODE_TYPE"
    BARCODE_CHECK_DIGIT = "BARCODE_CHECK_DIGIT"
    BARCODE_INTERNAL = "BARCODE_INTERNAL"
    BARCODE_EXTRA = "BARCODE_EXTRA"
    SKU_FORMAT = "SKU_FORMAT"
    STORE_UNKNOWN = "STORE_UNKNOWN"
    PRICE_FORMAT = "PRICE_FORMAT"
    TEXT_LENGTH = "TEXT_LENGTH"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    BARCODE_SHARED = "BARCODE_SHARED"
