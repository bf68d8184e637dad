"""The contract of an item that may be sent, as a pandera schema: what every accepted row must satisfy.

The rules repair and reject with codes; this schema is the promise they keep, checked on every frame before it goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import pandera.polars as pa
import polars as pl

from catalog_sync.barcodes import TYPES
from catalog_sync.contract.text_rules import CONTROL, TEXT_MAX
from catalog_sync.errors import CatalogSyncError, shorten
from catalog_sync.fields import ADDITIONAL

_BARCODE = r"^(?:[0-9]{3,6}|[0-9]{8}|[0-9]{9}[0-9X]|[0-9]{12,14})$"


class ContractBroken(CatalogSyncError):
    """A row came through the rules and yet breaks the contract: a defect of this project, so nothing is sent."""


@lru_cache(maxsize=4)
def item_schema(name_max: int, sku_pattern: str) -> Any:
    """Return the schema of accepted items: required texts, limits, printable names, typed barcodes."""

    def text(*checks: Any) -> Any:
        return pa.Column(pl.String, list(checks), nullable=False)

    free = (pa.Check.str_length(max_value=TEXT_MAX), pa.Check(_has_no_control))
    return pa.DataFrameSchema(
        {
            "item_sku": text(pa.Check.str_matches(f"^(?:{sku_pattern})$")),
            "external_product_id": text(pa.Check.str_matches(_BARCODE)),
            "external_product_id_type": text(pa.Check.isin(TYPES)),
            "item_name": text(pa.Check.str_length(1, name_max), pa.Check.str_matches(r"^[\x20-\x7e]+$")),
            "store_id": text(pa.Check.str_length(1, TEXT_MAX)),
            "standard_price": text(pa.Check.str_matches(r"^(?:[0-9]+\.[0-9]{2})?$")),
            "brand_name": text(*free),
            "product_tax_code": text(*free),
            "product_category": text(*free),
            "product_subcategory": text(*free),
            ADDITIONAL: pa.Column(nullable=False),
        },
        strict=False,
    )


def _has_no_control(data: Any) -> Any:
    return data.lazyframe.select(~pl.col(data.key).str.contains(CONTROL))


def uphold(items: pl.DataFrame, name_max: int, sku_pattern: str, stores: Collection[str]) -> None:
    """Check every item against the schema, eagerly (pandera checks no values on a lazy frame).

    :raises ContractBroken: a row breaks it.
    """
    strangers = set(items["store_id"].unique()) - set(stores)
    if strangers:
        raise ContractBroken(f"store_id = {shorten(sorted(strangers)[0])!r}: not configured, yet accepted")
    try:
        item_schema(name_max, sku_pattern).validate(items, lazy=True)
    except (pa.errors.SchemaErrors, pa.errors.SchemaError) as error:
        raise ContractBroken(f"accepted items break the contract: {shorten(error, 500)}") from None
