"""The contract of an item that may be sent, as a pandera schema: what every accepted row must satisfy.

The rules repair and reject, with codes; this schema is the promise they keep, and every frame is checked against it
before it goes on. Each check carries the code of the rule that should have seen to it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandera.polars as pa
import polars as pl

from catalog_sync.barcodes import TYPES
from catalog_sync.contract.codes import Code
from catalog_sync.contract.extra import MOST
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.text_rules import CONTROL, NAME_MAX, SKU_PATTERN, TEXT_MAX
from catalog_sync.errors import CatalogSyncError, shorten
from catalog_sync.fields import ADDITIONAL

_BARCODE = r"^(?:[0-9]{3,6}|[0-9]{8}|[0-9]{9}[0-9X]|[0-9]{12,14})$"
_BARCODE_RULES = (Code.NUMERIC_CELL, Code.BARCODE_FORMAT, Code.BARCODE_LENGTH)


class ContractBroken(CatalogSyncError):
    """A row came through the rules and yet breaks the contract: a defect of this project, so nothing is sent."""


@dataclass(frozen=True)
class Promise:
    """What the configured rules promise of every accepted item; a rule that only warns promises nothing."""

    name_max: int = NAME_MAX
    sku_pattern: str = SKU_PATTERN
    warned: frozenset[Code] = frozenset()

    @classmethod
    def of(cls, policy: Policy) -> Promise:
        """Return what these rules promise."""
        return cls(
            min(policy.limit(Code.NAME_LENGTH, NAME_MAX), TEXT_MAX),
            policy.pattern(Code.SKU_FORMAT, SKU_PATTERN),
            policy.warned,
        )


@lru_cache(maxsize=4)
def item_schema(promise: Promise) -> Any:
    """Return the schema of accepted items, with the checks of every rule that does more than warn."""

    def text(*checks: tuple[tuple[Code, ...], Any]) -> Any:
        held = [check for codes, check in checks if not promise.warned.intersection(codes)]
        return pa.Column(pl.String, held, nullable=False)

    def matches(pattern: str, code: Code) -> Any:
        return pa.Check.str_matches(pattern, error=code.value)

    present = ((Code.REQUIRED,), pa.Check.str_length(min_value=1, error=Code.REQUIRED.value))
    free = (
        ((Code.TEXT_LENGTH,), pa.Check.str_length(max_value=TEXT_MAX, error=Code.TEXT_LENGTH.value)),
        ((Code.TEXT_LENGTH,), pa.Check(_has_no_control, error=Code.TEXT_LENGTH.value)),
    )
    longest = pa.Check.str_length(max_value=promise.name_max, error=Code.NAME_LENGTH.value)
    types = pa.Check.isin(TYPES, error=Code.BARCODE_TYPE.value)
    few = [] if Code.BARCODE_EXTRA in promise.warned else [pa.Check(_is_few, error=Code.BARCODE_EXTRA.value)]
    return pa.DataFrameSchema(
        {
            "item_sku": text(present, ((Code.SKU_FORMAT,), matches(f"^(?:{promise.sku_pattern})$", Code.SKU_FORMAT))),
            "external_product_id": text(present, (_BARCODE_RULES, matches(_BARCODE, Code.BARCODE_FORMAT))),
            "external_product_id_type": text(((*_BARCODE_RULES, Code.BARCODE_TYPE), types)),
            "item_name": text(
                present,
                ((Code.NAME_ASCII, Code.NAME_TRIM), matches(r"^[\x20-\x7e]+$", Code.NAME_ASCII)),
                ((Code.NAME_LENGTH,), longest),
            ),
            "store_id": text(present),
            "standard_price": text(
                ((Code.PRICE_FORMAT,), matches(r"^(?:[0-9]+\.[0-9]{2})?$", Code.PRICE_FORMAT)), *free
            ),
            "brand_name": text(*free),
            "product_tax_code": text(*free),
            "product_category": text(*free),
            "product_subcategory": text(*free),
            ADDITIONAL: pa.Column(checks=few, nullable=False),
        },
        strict=False,
    )


def _has_no_control(data: Any) -> Any:
    return data.lazyframe.select(~pl.col(data.key).str.contains(CONTROL))


def _is_few(data: Any) -> Any:
    return data.lazyframe.select(pl.col(data.key).list.len() <= MOST)


def uphold(items: pl.DataFrame, promise: Promise, stores: Collection[str]) -> None:
    """Check every item against the schema, eagerly (pandera checks no values on a lazy frame).

    :raises ContractBroken: a row breaks it; the message names the first field, rule and value.
    """
    strangers = set(items["store_id"].unique()) - set(stores)
    if strangers:
        raise ContractBroken(f"store_id = {shorten(sorted(strangers)[0])!r}: not configured, yet accepted")
    try:
        item_schema(promise).validate(items, lazy=True)
    except pa.errors.SchemaErrors as errors:
        first = errors.failure_cases.row(0, named=True)
        raise ContractBroken(
            f"{first['column']} = {shorten(first['failure_case'])!r}: accepted, yet breaks {first['check']}; "
            "this is a defect of the rules: report it, and set that rule to reject meanwhile"
        ) from None
