"""The vocabulary of a catalog item: Amazon's own field names, in the order they are sent.

Source: Amazon's Upload Catalog page (``upload_catalog``). Every value is a JSON string; a row is one SKU in one store.
"""

from __future__ import annotations

#: The string fields of an item, in the order in which they are sent.
TEXT_FIELDS = (
    "item_sku",
    "external_product_id",
    "external_product_id_type",
    "item_name",
    "store_id",
    "standard_price",
    "brand_name",
    "product_tax_code",
    "product_category",
    "product_subcategory",
)

#: Amazon's name for the further barcodes of an item: a list of {external_product_id, external_product_id_type}.
ADDITIONAL = "additional_external_product_information"

#: An item as sent: the text fields and, after the main barcode's type, the additional barcodes.
ITEM_FIELDS = (*TEXT_FIELDS[:3], ADDITIONAL, *TEXT_FIELDS[3:])

#: Every field of an item that holds barcodes.
BARCODE_FIELDS = ("external_product_id", "external_product_id_type", ADDITIONAL)

#: How additional barcodes arrive from a source: one text, barcodes separated by ``|``, each ``CODE`` or ``TYPE:CODE``.
ADDITIONAL_TEXT = "additional_external_product_ids"

#: What a mapping may target: the columns of a mapped source row, all nullable text.
TARGETS = (*TEXT_FIELDS, ADDITIONAL_TEXT)

#: What a store has of its own: which store it is, and its price. All else is the trade item, which stores share.
STORE_FIELDS = ("store_id", "standard_price")

#: Where a row came from: the source's name (for file sources with its file), and the row's number in it, from 1.
PROVENANCE = ("source", "source_row")

#: A row's identity everywhere: one SKU in one store.
KEY = ("store_id", "item_sku")

#: Amazon refuses the request without these (``upload_catalog``).
REQUIRED = ("item_sku", "external_product_id", "item_name", "store_id")

#: Shown instead of a store where none can be told.
NO_STORE = "–"
