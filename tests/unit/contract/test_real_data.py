"""The rules on real product data, which is not part of the checkout: skipped where it is absent."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from catalog_sync.contract import ContractResult, apply_contract
from catalog_sync.fields import TARGETS

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
STORES = ("SEA-001", "SEA-002", "PDX-001", "NYC-014", "CHI-007", "LON-003")
MAPPING = {
    "item_no": "item_sku",
    "gtin": "external_product_id",
    "descr": "item_name",
    "dept": "product_category",
    "retail": "standard_price",
    "tax_cd": "product_tax_code",
    "store_no": "store_id",
}


@pytest.fixture(scope="module")
def days() -> dict[int, ContractResult]:
    """Both days' exports, held to the default rules."""
    results = {}
    for day in (1, 2):
        path = DATA / f"erp_items_day{day}.csv.gz"
        if not path.exists():
            pytest.skip("the real product data is not here")
        export = pl.read_csv(path, infer_schema=False).rename(MAPPING)
        absent = [pl.lit(None, pl.String).alias(field) for field in TARGETS if field not in MAPPING.values()]
        rows = export.with_columns(absent).with_row_index("source_row", 1).with_columns(source=pl.lit("erp"))
        rows = rows.select(*TARGETS, "source", pl.col("source_row").cast(pl.Int64))
        results[day] = apply_contract(rows, rules={}, stores=STORES)
    return results


def codes(result: ContractResult) -> dict[str, int]:
    """How many rows break each code."""
    return dict(result.rejects.group_by("code").len().iter_rows())


def test_day_one_is_read_as_an_independent_reading_has_it(days: dict[int, ContractResult]) -> None:
    """The first day's rows are rejected as counted by hand; of the names only the one without letter or digit."""
    assert codes(days[1]) == {
        "BARCODE_LENGTH": 390,
        "BARCODE_CHECK_DIGIT": 767,
        "BARCODE_PADDED": 100,
        "BARCODE_SHARED": 14,
        "DUPLICATE_KEY": 2,
        "NAME_ASCII": 1,
    }
    assert days[1].rejects["row_id"].n_unique() == 1_274
    assert len(days[1].accepted) == 128_308


def test_day_two_has_more_cut_barcodes(days: dict[int, ContractResult]) -> None:
    """The second day's barcodes that lost their last digit are rejected."""
    assert len(days[2].accepted) == 128_196
    assert codes(days[2])["BARCODE_CHECK_DIGIT"] == 878


def test_the_books_of_both_days_balance(days: dict[int, ContractResult]) -> None:
    """Every row read is collapsed, rejected or accepted, in each of the six stores."""
    for result, read in ((days[1], 129_582), (days[2], 129_580)):
        assert sorted(result.counts["store_id"]) == sorted(STORES)
        balance = pl.col("read") - pl.col("collapsed") - pl.col("rejected") - pl.col("accepted")
        assert result.counts.select((balance == 0).all()).item()
        assert result.counts["read"].sum() == read


def test_names_in_other_scripts_are_repaired(days: dict[int, ContractResult]) -> None:
    """All accepted names are printable ASCII of at most 100 characters with a letter or digit in them."""
    name = pl.col("item_name")
    fine = name.str.contains(r"^[\x20-\x7e]{1,100}$") & name.str.contains(r"[A-Za-z0-9]")
    assert days[1].accepted.select(fine.all()).item()
    assert not days[1].accepted.select(name.str.contains(r"&(amp|quot|#\d+);|:[a-z_]+:").any()).item()
