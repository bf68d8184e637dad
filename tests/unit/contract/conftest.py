"""Rows to be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from catalog_sync.contract.apply import ContractResult, apply_contract
from catalog_sync.contract.shared import waiting
from catalog_sync.fields import ADDITIONAL, TARGETS
from catalog_sync.settings import Rule

STORES = ("S1", "S2", "12")
GOOD = {
    "item_sku": "A-1",
    "external_product_id": "036000291452",
    "item_name": "Oat Drink 1 l",
    "store_id": "S1",
}


@dataclass(frozen=True)
class Judged(ContractResult):
    """What the contract made of rows, and which of them wait for the holder of their barcode if all were sent."""

    waiting: pl.DataFrame


Judge = Callable[..., Judged]


def rows_of(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return mapped source rows: each given row over a good one."""
    schema = {**dict.fromkeys(TARGETS, pl.String()), "source": pl.String(), "source_row": pl.Int64()}
    filled = [{**GOOD, "source": "erp", "source_row": n, **row} for n, row in enumerate(rows, 1)]
    return pl.DataFrame(filled, schema=schema)


def acknowledged(holders: Sequence[tuple[str, str, str]]) -> pl.DataFrame:
    """Return acknowledged rows, given as store, SKU and GTIN-14."""
    code = {"external_product_id": pl.String, "external_product_id_type": pl.String}
    schema = {"store_id": pl.String, "item_sku": pl.String, **code, ADDITIONAL: pl.List(pl.Struct(code))}
    return pl.DataFrame([(store, sku, gtin, "GTIN", []) for store, sku, gtin in holders], schema=schema, orient="row")


@pytest.fixture
def judge() -> Judge:
    """Hold rows (each a change of a good row) to the contract."""

    def judged(
        *rows: Mapping[str, Any],
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        holders: Sequence[tuple[str, str, str]] = (),
    ) -> Judged:
        held = acknowledged(holders)
        result = apply_contract(
            rows_of(rows),
            rules={code: Rule.model_validate(rule) for code, rule in (rules or {}).items()},
            stores=STORES,
            holders=held,
        )
        return Judged(**vars(result), waiting=waiting(result.items, held))

    return judged
