"""Rows to be judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from catalog_sync.contract.apply import ContractResult, apply_contract
from catalog_sync.fields import TARGETS
from catalog_sync.settings import Rule

STORES = ("S1", "S2", "12")
GOOD = {
    "item_sku": "A-1",
    "external_product_id": "036000291452",
    "item_name": "Oat Drink 1 l",
    "store_id": "S1",
}
Judge = Callable[..., ContractResult]


def rows_of(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return mapped source rows: each given row over a good one."""
    schema = {**dict.fromkeys(TARGETS, pl.String()), "source": pl.String(), "source_row": pl.Int64()}
    filled = [{**GOOD, "source": "erp", "source_row": n, **row} for n, row in enumerate(rows, 1)]
    return pl.DataFrame(filled, schema=schema)


@pytest.fixture
def judge() -> Judge:
    """Hold rows (each a change of a good row) to the contract."""

    def judged(
        *rows: Mapping[str, Any],
        rules: Mapping[str, Mapping[str, Any]] | None = None,
        holders: Sequence[tuple[str, str, str]] = (),
    ) -> ContractResult:
        return apply_contract(
            rows_of(rows),
            rules={code: Rule.model_validate(rule) for code, rule in (rules or {}).items()},
            stores=STORES,
            holders=pl.DataFrame(
                list(holders), schema={"store_id": pl.String, "item_sku": pl.String, "gtin14": pl.String}, orient="row"
            ),
        )

    return judged
