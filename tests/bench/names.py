"""Names that the generator, our own cases and the opponents share."""

from __future__ import annotations

STORES = tuple(f"ST-{number:03d}" for number in range(100))
#: Amazon's limit of items in a request (``catalog_validations``).
BATCH = 10_000
DAY1, DAY2, PLANTED = "day1.parquet", "day2.parquet", "planted.json"
#: Source column → Amazon's field. The barcode's type and the further barcodes are made from columns.
COLUMNS = {
    "item_no": "item_sku",
    "gtin": "external_product_id",
    "descr": "item_name",
    "store_no": "store_id",
    "retail": "standard_price",
    "brand": "brand_name",
    "tax_cd": "product_tax_code",
    "dept": "product_category",
    "sub_dept": "product_subcategory",
}
FURTHER = "alt_gtins"
