"""Merging sources: precedence per field, and every row counted once."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_sync.contract.frames import REJECTS
from catalog_sync.fields import TARGETS
from catalog_sync.merge import merge
from catalog_sync.settings import MergeSettings

SCHEMA = {**dict.fromkeys(TARGETS, pl.String), "source": pl.String, "source_row": pl.Int64}
ORDER = MergeSettings(precedence=("merch", "erp", "pos"))


def frame(source: str, *rows: dict[str, str | None]) -> pl.DataFrame:
    """Mapped rows of a source; each is SKU 1 in store A unless it says otherwise."""
    made = [
        {"item_sku": "1", "store_id": "A", **row, "source": source, "source_row": n} for n, row in enumerate(rows, 1)
    ]
    return pl.DataFrame(made, schema=SCHEMA)


def three(**sources: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The three sources, those not given being empty."""
    return {name: sources.get(name, frame(name)) for name in ORDER.precedence}


def test_one_source_is_left_alone() -> None:
    """The very frame, duplicates and all."""
    one = frame("erp", {}, {})
    assert merge({"erp": one}, MergeSettings()).rows is one


def test_the_first_that_has_a_value_wins_its_field() -> None:
    """By the order for all fields, or the field's own; blanks are no value; the base row keeps its provenance."""
    settings = MergeSettings(precedence=ORDER.precedence, fields={"standard_price": ("pos",)})
    got = merge(
        three(
            merch=frame("merch", {"item_name": "Merch", "brand_name": "  "}),
            erp=frame("erp", {"item_name": "Erp", "brand_name": "B", "standard_price": "1"}),
            pos=frame("pos", {"item_name": "Pos", "standard_price": "2"}),
        ),
        settings,
    )
    (row,) = got.rows.to_dicts()
    assert (row["item_name"], row["brand_name"], row["standard_price"]) == ("Merch", "B", "2")
    assert (row["source"], row["source_row"]) == ("merch", 1)
    assert got.merged_away.rows() == [("A", 2)]
    assert got.rejects.is_empty()


def test_a_row_of_one_source_is_left_alone() -> None:
    """Keys that no other source has pass as they are, in the order in which they came."""
    got = merge(three(erp=frame("erp", {"item_sku": "2"}), merch=frame("merch", {"item_sku": "1"})), ORDER)
    assert got.rows["item_sku"].to_list() == ["1", "2"]
    assert got.rows.columns == [*TARGETS, "source", "source_row"]
    assert len(got.merged_away) == 0


def test_keys_are_compared_as_the_contract_will_see_them() -> None:
    """Without blanks around them, and a spreadsheet's number as its digits; the base keeps its text."""
    got = merge(
        three(merch=frame("merch", {"item_sku": " 1.0", "store_id": "A "}), erp=frame("erp", {"item_name": "x"})), ORDER
    )
    assert got.rows.select("item_sku", "store_id", "item_name").rows() == [(" 1.0", "A ", "x")]


@pytest.mark.parametrize("key", [{"item_sku": None}, {"store_id": None}, {"item_sku": " "}])
def test_rows_without_a_key_are_not_merged(key) -> None:
    """Nothing says that they are the same item."""
    got = merge(three(merch=frame("merch", key), erp=frame("erp", key)), ORDER)
    assert len(got.rows) == 2


def test_a_type_belongs_to_its_barcode() -> None:
    """It never comes from a source with another barcode, but does from one with the same."""
    merch, erp = (
        {"external_product_id": "4011"},
        {"external_product_id": "96385074", "external_product_id_type": "EAN8"},
    )
    got = merge(three(merch=frame("merch", merch), erp=frame("erp", erp)), ORDER)
    assert got.rows.select("external_product_id", "external_product_id_type").rows() == [("4011", None)]
    same = {**merch, "external_product_id": " 96385074"}
    got = merge(three(merch=frame("merch", same), erp=frame("erp", erp)), ORDER)
    assert got.rows["external_product_id_type"].to_list() == ["EAN8"]
    alone = {"external_product_id_type": "EAN8"}
    got = merge(three(merch=frame("merch", alone)), ORDER)
    assert got.rows["external_product_id_type"].to_list() == ["EAN8"]


def test_several_rows_of_one_source_are_each_filled() -> None:
    """The source with most rows is the base; the contract judges its duplicates."""
    got = merge(
        three(merch=frame("merch", {"brand_name": "M"}), erp=frame("erp", {"item_name": "x"}, {"item_name": "y"})),
        ORDER,
    )
    assert got.rows.select("item_name", "brand_name", "source", "source_row").rows() == [
        ("x", "M", "erp", 1),
        ("y", "M", "erp", 2),
    ]
    assert got.merged_away.rows() == [("A", 1)]


def test_equal_rows_of_another_source_are_one() -> None:
    """They say the same, so nothing is guessed."""
    two = [{"item_name": "x"}, {"item_name": "x"}]
    got = merge(
        three(merch=frame("merch", *two), erp=frame("erp", *({**row, "brand_name": "B"} for row in two))), ORDER
    )
    assert got.rows.select("item_name", "brand_name", "source").rows() == [("x", "B", "merch")] * 2
    assert got.merged_away["rows"].sum() == 2


def test_what_would_have_to_be_guessed_is_rejected() -> None:
    """Several differing rows in two sources: the base's rows are rejected, the others are merged away."""
    two = [{"item_name": "x"}, {"item_name": "y"}]
    whole = three(merch=frame("merch", *two), erp=frame("erp", *two), pos=frame("pos", {"item_sku": "2"}))
    got = merge(whole, ORDER)
    assert got.rows["item_sku"].to_list() == ["2"]
    assert got.rejects.select("code", "source", "source_row", "item_sku").rows() == [
        ("DUPLICATE_KEY", "merch", 1, "1"),
        ("DUPLICATE_KEY", "merch", 2, "1"),
    ]
    assert got.rejects.schema == REJECTS
    assert got.merged_away.rows() == [("A", 2)]


rows_of = st.lists(
    st.fixed_dictionaries(
        {
            "item_sku": st.sampled_from(["1", " 1", "2", "", None]),
            "store_id": st.sampled_from(["A", "A ", "B", None]),
            "item_name": st.sampled_from(["x", "y", " ", None]),
            "external_product_id": st.sampled_from(["4011", "4012", None]),
        }
    ),
    max_size=6,
)


@given(rows_of, rows_of, rows_of)
def test_every_row_is_counted_once(merch, erp, pos) -> None:
    """Per store: rows in = rows out + merged away + rejected; ids of rejects are no places of rows; keys keep a row."""
    whole = {name: frame(name, *rows) for name, rows in (("merch", merch), ("erp", erp), ("pos", pos))}
    got = merge(whole, ORDER)
    before = Counter(store and store.strip() for one in whole.values() for store in one["store_id"])
    after = Counter(store and store.strip() for store in got.rows["store_id"])
    after += Counter(got.rejects["store_id"].to_list())
    after += Counter(dict(got.merged_away.rows()))
    assert after == before
    assert got.rejects["row_id"].n_unique() == len(got.rejects)
    assert not set(got.rejects["row_id"]) & set(range(len(got.rows)))

    def keys(*frames: pl.DataFrame) -> set[tuple[str, str]]:
        pairs = [pair for one in frames for pair in one.select("store_id", "item_sku").rows()]
        return {(store.strip(), sku.strip()) for store, sku in pairs if store and sku}

    assert keys(got.rows, got.rejects) == keys(*whole.values())
    for name in ("item_name", "external_product_id"):
        assert set(got.rows[name]) <= {value for one in whole.values() for value in one[name]} | {None}
