"""The rules that look at several rows: one row per key, one SKU per barcode and store, and who must wait."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from catalog_sync.contract.steps import store_as_repaired

X, Y, Z = "4006381333931", "9780306406157", "5000112637922"


def gtin(code: str) -> str:
    """The barcode as holders are listed."""
    return code.zfill(14)


def row(sku: str, barcode: str = X, store: str = "S1", **changes: Any) -> dict[str, Any]:
    """A row of that SKU with that barcode."""
    return {"item_sku": sku, "external_product_id": barcode, "store_id": store, **changes}


def skus(frame: Any) -> list[str]:
    """The SKUs of a frame, each once."""
    return sorted(set(frame["item_sku"]))


def test_equal_rows_collapse(judge: Any) -> None:
    """Rows that are equal after repairs count as one accepted row; the others are counted as collapsed, by store."""
    result = judge(row("A"), row("A", item_name=" Oat  Drink 1 l"), row("A", "04006381333931"), row("A", store="S2"))
    assert len(result.accepted) == 2
    assert result.accepted.filter(store_id="S1")["source_row"].to_list() == [1]
    assert result.collapsed.rows() == [("S1", 2)]
    assert result.rejects.is_empty()


@pytest.mark.parametrize(
    "change", [{"standard_price": "1.00"}, {"additional_external_product_ids": "4011"}, {"item_name": "Oat"}]
)
def test_rows_that_differ_are_all_rejected(judge: Any, change: dict[str, str]) -> None:
    """Of rows with one key that differ in any field none is taken, and their equals are rejected with them."""
    result = judge(row("A"), row("A"), row("A", **change), row("B", Y))
    assert skus(result.accepted) == ["B"]
    assert result.rejects["code"].to_list() == ["DUPLICATE_KEY"] * 3
    assert result.collapsed.is_empty()


def test_duplicates_are_judged_among_the_rows_that_survive(judge: Any) -> None:
    """A row that another rule rejects makes no other row a duplicate."""
    result = judge(row("A"), row("A", standard_price="x"))
    assert len(result.accepted) == 1
    assert result.rejects["code"].to_list() == ["PRICE_FORMAT"]


def test_additional_barcodes_of_equal_rows_are_compared_too(judge: Any) -> None:
    """Rows with the same additional barcodes collapse."""
    extra = {"additional_external_product_ids": "4011|PLU:4131"}
    result = judge(row("A", **extra), row("A", additional_external_product_ids="4011.0||4131"))
    assert (len(result.accepted), result.collapsed.rows()) == (1, [("S1", 1)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (row("A"), row("B")),
        (row("A", "07838604"), row("B", "078000003864")),
        (row("A", "0306406152"), row("B", "9780306406157")),
        (row("A"), row("B", Y, additional_external_product_ids=X)),
        (row("A", Z, additional_external_product_ids=X), row("B", Y, additional_external_product_ids=f"EAN:{X}")),
    ],
    ids=["equal", "UPC-E and UPC-A", "ISBN and EAN", "main and additional", "both additional"],
)
def test_two_skus_may_not_claim_one_barcode(judge: Any, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Without a holder both are rejected; with one, the holder keeps the barcode."""
    result = judge(one, other, row("C", "036000291452"))
    assert skus(result.accepted) == ["C"]
    assert result.rejects["code"].to_list() == ["BARCODE_SHARED"] * 2
    shared = result.rejects["value"][0]
    held = judge(one, other, holders=[("S1", "B", shared)])
    assert skus(held.accepted) == ["B"]
    assert skus(held.rejects) == ["A"]


def test_a_barcode_is_shared_within_one_store_only(judge: Any) -> None:
    """The same barcode on two SKUs in two stores is no conflict, and a holder counts in its own store only."""
    assert len(judge(row("A"), row("B", store="S2")).accepted) == 2
    assert judge(row("A"), row("B"), holders=[("S2", "A", gtin(X))]).accepted.is_empty()


def test_a_row_that_is_rejected_claims_nothing(judge: Any) -> None:
    """Barcodes are compared among the rows that survive all other rules, the rule of duplicates included."""
    result = judge(row("A"), row("B", standard_price="x"), row("C"), row("C", item_name="Other"))
    assert skus(result.accepted) == ["A"]


def test_a_holder_that_is_no_claimant_today_settles_nothing(judge: Any) -> None:
    """Where the holder is not among those that claim a barcode, all that claim it are rejected."""
    result = judge(row("A"), row("B"), row("H", Y), holders=[("S1", "H", gtin(X))])
    assert skus(result.accepted) == ["H"]
    assert result.waiting.is_empty()


def test_a_new_claim_waits_for_the_holder_that_changes_today(judge: Any) -> None:
    """The holder that has another barcode today goes first; the new claim is accepted, and waits for the next run."""
    result = judge(row("H", Y), row("N", X), holders=[("S1", "H", gtin(X))])
    assert skus(result.accepted) == ["H", "N"]
    assert result.waiting.rows() == [("S1", "N")]


def test_an_additional_barcode_waits_too(judge: Any) -> None:
    """A claim among the additional barcodes waits like a main one."""
    claim = row("N", Z, additional_external_product_ids=f"4011|{X}")
    assert judge(row("H", Y), claim, holders=[("S1", "H", gtin(X))]).waiting.rows() == [("S1", "N")]


@pytest.mark.parametrize(
    ("rows", "holders"),
    [
        ([row("N", X)], [("S1", "H", gtin(X))]),
        ([row("N", X), row("H", Y, standard_price="x")], [("S1", "H", gtin(X))]),
        ([row("N", X), row("H", Y, store="S2")], [("S1", "H", gtin(X))]),
        ([row("N", X), row("H", Y)], [("S1", "N", gtin(X)), ("S1", "H", gtin(X))]),
        ([row("N", X), row("H", Y)], []),
    ],
    ids=["holder left", "holder rejected today", "holder in another store", "holds it itself", "nobody holds it"],
)
def test_nothing_waits_for_what_will_not_come(judge: Any, rows: Any, holders: Any) -> None:
    """Where no change of the holder goes out today, the new claim is sent and Amazon judges it."""
    result = judge(*rows, holders=holders)
    assert "N" in skus(result.accepted)
    assert result.waiting.is_empty()


def test_a_chain_waits_link_by_link_and_a_ring_does_not_wait(judge: Any) -> None:
    """In a chain all but the last wait; SKUs that swap barcodes would wait for each other for ever, so they go."""
    holders = [("S1", "A", gtin(X)), ("S1", "B", gtin(Y))]
    assert judge(row("A", Y), row("B", Z), holders=holders).waiting.rows() == [("S1", "A")]
    assert judge(row("A", Y), row("B", X), holders=holders).waiting.is_empty()
    behind = judge(
        row("A", Y), row("B", X), row("C", Z), row("D", "036000291452"), holders=[*holders, ("S1", "D", gtin(Z))]
    )
    assert behind.waiting.rows() == [("S1", "C")]


def test_the_swap_of_one_store_holds_up_no_other(judge: Any) -> None:
    """Rings are looked for within a store."""
    holders = [(store, sku, gtin(code)) for store in ("S1", "S2") for sku, code in (("A", X), ("B", Y))]
    rows = [row("A", Y), row("B", X), row("A", Y, "S2"), row("B", Z, "S2")]
    assert judge(*rows, holders=holders).waiting.rows() == [("S2", "A")]


def test_a_store_is_known_before_its_rows_are_judged(judge: Any) -> None:
    """The store by which rows are brought together is the one that the contract accepts them under."""
    for raw in ("12", " 12", "12.0", "12.00 ", "S1\n"):
        accepted = judge(row("A", store=raw)).accepted["store_id"]
        assert pl.select(store_as_repaired(pl.lit(raw))).item() == accepted.item()


def test_counts_balance_per_store(judge: Any) -> None:
    """Each store's rows read are those collapsed, rejected and accepted, under the store id after repair."""
    result = judge(
        row("A"), row("A"), row("B", "x"), row("C", Y, store=" 12.0"), row("D", Z, store="S9"), row("E", store=None)
    )
    columns = ("store_id", "read", "collapsed", "rejected", "accepted", "repaired")
    assert result.counts.select(columns).rows() == [
        (None, 1, 0, 1, 0, 0),
        ("12", 1, 0, 0, 1, 1),
        ("S1", 3, 1, 1, 1, 0),
        ("S9", 1, 0, 1, 0, 0),
    ]
