"""What to do about each rule of the contract that a row breaks, in a sentence for the people who own the source."""

from __future__ import annotations

from collections.abc import Mapping

from catalog_sync.contract.codes import Code

ADVICE: Mapping[Code, str] = {
    Code.ROW_UNREADABLE: "Export the file again: UTF-8, fields with commas or line breaks in quotes, no NUL.",
    Code.REQUIRED: "Fill the field in the source, or map it to the column that has it.",
    Code.NAME_TRIM: "Nothing to do; blanks too many were taken out.",
    Code.NAME_ASCII: "Amazon takes printable ASCII only: check that the name still reads well, or write it so.",
    Code.NAME_LENGTH: "Shorten the name in the source, so that what is cut off is your choice.",
    Code.NUMERIC_CELL: "A spreadsheet took the field for a number: format the column as text and enter it again.",
    Code.BARCODE_PADDED: "Give the barcode as it is scanned, without zeros put before it.",
    Code.BARCODE_FORMAT: "Give the barcode's digits only.",
    Code.BARCODE_LENGTH: "Look whether digits are missing or too many; scan the product.",
    Code.BARCODE_TYPE: "Leave the type out, or give the one that fits the number of digits.",
    Code.BARCODE_CHECK_DIGIT: "A digit is wrong, most likely typed: scan the product.",
    Code.BARCODE_INTERNAL: "Make sure that these numbers, which begin with 2, mean the same item in every store.",
    Code.BARCODE_EXTRA: "Mend or remove the further barcode; each must be valid and stand once, at most 50.",
    Code.SKU_FORMAT: "Use letters, digits, '.', '_' and '-' only, or set rules.SKU_FORMAT.pattern if Amazon agreed.",
    Code.STORE_UNKNOWN: "Correct the store's id, or add the store to the configured stores.",
    Code.PRICE_FORMAT: "Write the price as 9.99: no currency, no thousands separator, not negative.",
    Code.TEXT_LENGTH: "Shorten the text to 255 characters and take line breaks and other control characters out.",
    Code.DUPLICATE_KEY: "Keep one row for each SKU and store; which one is right only the source can say.",
    Code.BARCODE_SHARED: "Give the barcode to one SKU of the store only, or merge the SKUs.",
}
