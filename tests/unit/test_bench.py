"""The benchmark's own parts: what its generator plants, and what its result looks like."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.bench import data, deployment, loads, place
from tests.bench.__main__ import parser
from tests.bench.limiter import busiest_second
from tests.bench.measure import Broken, Cost
from tests.bench.names import COLUMNS, DAY1, DAY2, FURTHER, STORES
from tests.bench.opponents.rules import ascii_name, code_type, further, passes, unpadded
from tests.bench.report import as_json
from tests.bench.results import OURS, Found, Target, lines, middle
from tests.bench.state import refused, report

from catalog_sync import reports
from catalog_sync.contract.apply import apply_contract
from catalog_sync.fields import TARGETS

ROWS = 2_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both days of a small catalog."""
    made = tmp_path_factory.mktemp("bench")
    data.write(made, ROWS)
    return made


def mapped(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as the mapping of the benchmark's deployment makes them."""
    named = rows.rename({**COLUMNS, FURTHER: "additional_external_product_ids"})
    none = [pl.lit(None, dtype=pl.String).alias(field) for field in TARGETS if field not in named.columns]
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("source_row")
    return named.with_columns(*none, number, source=pl.lit("erp")).select(*TARGETS, "source", "source_row")


def test_the_contract_rejects_exactly_what_is_planted(folder: Path) -> None:
    """Two in a hundred rows are bad, each for the rule that it was made for, and the rest is accepted."""
    planted = data.planted(ROWS)
    result = apply_contract(mapped(pl.read_parquet(folder / DAY1)), rules={}, stores=STORES)
    assert dict(result.rejects.group_by("code").len().iter_rows()) == planted.rejected
    assert result.rejects["row_id"].n_unique() == ROWS // 50
    assert len(result.accepted) == planted.accepted == ROWS - ROWS // 50


def test_the_second_day_changes_two_in_a_hundred_good_rows(folder: Path) -> None:
    """As many accepted rows differ as are planted."""
    first, second = (
        apply_contract(mapped(pl.read_parquet(folder / day)), rules={}, stores=STORES).accepted.drop("source_row")
        for day in (DAY1, DAY2)
    )
    changed = second.join(first, on=["store_id", "item_sku", "standard_price"], how="anti")
    assert len(changed) == data.planted(ROWS).changed == ROWS // 50


def test_every_store_has_its_share() -> None:
    """No store has so many bad or changed rows that a guard would hold them: a night of 50,000 rows would be sent."""
    first, second = (data.frame(0, 50_000, day) for day in (1, 2))
    bad = apply_contract(mapped(first), rules={}, stores=STORES).rejects.unique("row_id")["source_row"] - 1
    moved = (first["retail"] != second["retail"]).arg_true()
    for rows in (bad, moved):
        by_store = (rows % len(STORES)).value_counts()
        assert by_store.height == len(STORES)
        assert by_store["count"].max() <= 500 * 5 // 100


def test_the_help_is_printed() -> None:
    """Its texts hold percent signs."""
    assert "2 % changed" in parser().format_help()


def test_the_data_is_as_dirty_as_it_says(folder: Path) -> None:
    """A fifth of the items have accents in their names, half have further barcodes, and all stores have rows."""
    rows = pl.read_parquet(folder / DAY1).filter(pl.col("descr") != "")
    items = rows.unique("item_no")
    assert items.select(pl.col("descr").str.contains(r"[^\x00-\x7f]").mean()).item() == pytest.approx(0.2, abs=0.1)
    assert items.select(pl.col(FURTHER).is_not_null().mean()).item() == pytest.approx(0.5, abs=0.1)
    assert set(STORES) <= set(rows["store_no"])


def test_the_data_is_the_same_every_time_and_in_any_pieces(folder: Path) -> None:
    """Rows depend on their number alone."""
    pieces = pl.concat([data.frame(first, data.BLOCK) for first in range(0, ROWS, data.BLOCK)])
    assert pieces.equals(pl.read_parquet(folder / DAY1))


@pytest.mark.parametrize("rows", [0, 499, 750])
def test_rows_that_make_no_whole_blocks_are_refused(rows: int) -> None:
    """The planted numbers would not be exact."""
    with pytest.raises(ValueError, match="multiple of 500"):
        data.planted(rows)


def test_a_wrong_count_is_an_error() -> None:
    """A first load that planned one row too few breaks the benchmark."""
    planted = {"accepted": 490, "rejected": {"REQUIRED": 10}}
    told = {"planned": 490, "rejected": {"REQUIRED": 10}, "payloads": 1}
    loads.check_first_load(planted, told)
    with pytest.raises(Broken, match="rows planned: 489"):
        loads.check_first_load(planted, {**told, "planned": 489})


def test_the_json_has_a_line_for_each_contender() -> None:
    """Each has the documented keys; the ratio is our speed over theirs, of the medians."""
    slow = [Cost(seconds, 9.0, 900.0, {}) for seconds in (8.0, 30.0, 10.0)]
    costs = {OURS: middle([Cost(2.0, 3.0, 500.0, {})]), "naive": middle(slow)}
    whole = json.loads(as_json(Found(lines("a", 1_000, costs), [Target("a", "times naive", 5.0, 8.0, False)])))
    assert whole["cases"] == [
        {"case": "a", "opponent": "ours", "rows_per_s": 500.0, "cpu_s": 3.0, "peak_mib": 500.0, "ratio": 1.0},
        {"case": "a", "opponent": "naive", "rows_per_s": 100.0, "cpu_s": 9.0, "peak_mib": 900.0, "ratio": 5.0},
    ]
    assert whole["targets"] == [{"case": "a", "what": "times naive", "found": 5.0, "at_least": 8.0, "met": False}]


def test_the_busiest_second_is_half_open() -> None:
    """Two requests exactly one second apart are in different seconds, as for Amazon's limit."""
    assert busiest_second([0.0, 0.5, 0.999]) == 3
    assert busiest_second([0.0, 0.5, 1.0]) == 2
    assert busiest_second([]) == 0


def test_the_made_reports_say_what_the_sandboxs_would() -> None:
    """The project reads them, and as many items are refused as the state says."""
    keys = [("ST-001", f"SKU-{n}") for n in range(2_500)]
    found = reports.parse(report("ingestion-1", keys), ingestion_id="ingestion-1")
    assert (found.total, found.failed) == (2_500, refused(2_500))
    assert refused(2_500) == 2
    assert len(found.items.filter(pl.col("status") == "FAILED")) == 2


def test_the_opponents_repairs_and_rules_are_right() -> None:
    """They do what our contract does to the planted dirt."""
    assert ascii_name("Casa  Luna Crème Fraîche ") == "Casa Luna Creme Fraiche"
    assert unpadded("0041000000010") == "041000000010"
    assert code_type("041000000010") == "UPC"
    assert passes("4006381333931")
    assert not passes("4006381333932")
    assert further("EAN:4006381333931|041000000010") == [
        {"external_product_id": "4006381333931", "external_product_id_type": "EAN"},
        {"external_product_id": "041000000010", "external_product_id_type": "UPC"},
    ]


def test_a_place_crosses_into_another_process(tmp_path: Path) -> None:
    """Its JSON makes the same place, and a configuration that the project accepts."""
    made = place.Place(str(tmp_path), "items.parquet", "http://127.0.0.1:1", "http://127.0.0.1:2")
    assert place.Place.of(made.as_json()) == made
    assert deployment.settings(made).lake == str(tmp_path)
