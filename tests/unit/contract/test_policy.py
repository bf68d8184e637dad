"""Rules as configured: each can reject, repair what it can, or only warn."""

from __future__ import annotations

from typing import Any

import pytest

from catalog_sync.contract.codes import Code
from catalog_sync.contract.policy import NEVER_WARN
from catalog_sync.errors import Misconfigured

#: For each code rows of which at least one breaks it and, where it can, nothing else.
BREAKING: dict[str, list[dict[str, Any]]] = {
    "NAME_TRIM": [{"item_name": " Oat  Drink"}],
    "NAME_ASCII": [{"item_name": "Crème"}],
    "NAME_LENGTH": [{"item_name": "w" * 101}],
    "NUMERIC_CELL": [{"item_sku": "4011.0"}],
    "BARCODE_PADDED": [{"external_product_id": "0036000291452"}],
    "BARCODE_FORMAT": [{"external_product_id": "03600029145A"}],
    "BARCODE_LENGTH": [{"external_product_id": "7838604"}],
    "BARCODE_TYPE": [{"external_product_id_type": "EAN"}],
    "BARCODE_CHECK_DIGIT": [{"external_product_id": "036000291453"}],
    "BARCODE_INTERNAL": [{"external_product_id": "2000000000008"}],
    "BARCODE_EXTRA": [{"additional_external_product_ids": "4006381333932|x|EAN:"}],
    "SKU_FORMAT": [{"item_sku": "A 1"}],
    "PRICE_FORMAT": [{"standard_price": "9.5"}],
    "TEXT_LENGTH": [{"brand_name": "a\x01" + "b" * 300}],
    "BARCODE_SHARED": [{"item_sku": "A"}, {"item_sku": "B"}],
}
NEVER: dict[str, list[dict[str, Any]]] = {
    "REQUIRED": [{"item_sku": None}],
    "STORE_UNKNOWN": [{"store_id": "S9"}],
    "DUPLICATE_KEY": [{}, {"item_name": "Other"}],
}


def test_every_code_is_tried() -> None:
    """The cases of this module cover every code but ROW_UNREADABLE, which the readers give."""
    assert {*BREAKING, *NEVER} == set(Code) - {Code.ROW_UNREADABLE}


@pytest.mark.parametrize("code", BREAKING)
def test_a_rule_set_to_reject_rejects(judge: Any, code: str) -> None:
    """What would be repaired or warned of by default is rejected, and nothing is booked as repaired."""
    result = judge(*BREAKING[code], rules={code: {"on_violation": "reject"}})
    assert result.accepted.is_empty()
    assert set(result.rejects["code"]) == {code}
    assert result.repairs.is_empty()


@pytest.mark.parametrize("code", BREAKING)
def test_a_rule_set_to_warn_keeps_the_row_as_it_came(judge: Any, code: str) -> None:
    """The row is accepted with the value it came with, a warning says which rule it breaks, and nothing is repaired."""
    rows = BREAKING[code]
    result = judge(*rows, rules={code: {"on_violation": "warn"}})
    assert len(result.accepted) == len(rows), result.rejects
    assert result.rejects.is_empty()
    assert code in set(result.warnings["code"])
    assert result.repairs.is_empty()
    for row, item in zip(rows, result.accepted.iter_rows(named=True), strict=True):
        assert {field: item[field] for field in row if field in item} == {f: v for f, v in row.items() if f in item}


@pytest.mark.parametrize("code", NEVER)
def test_what_cannot_be_sent_is_never_only_warned_of(judge: Any, code: str) -> None:
    """These rules reject whatever is configured."""
    assert code in NEVER_WARN
    for action in ("warn", "repair", "reject"):
        result = judge(*NEVER[code], rules={code: {"on_violation": action}})
        assert result.accepted.is_empty()
        assert set(result.rejects["code"]) == {code}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"external_product_id": "4011.0"}, "NUMERIC_CELL"),
        ({"store_id": "12.0"}, "NUMERIC_CELL"),
        ({"external_product_id": "36000291452"}, "BARCODE_PADDED"),
        ({"item_name": "日本"}, "NAME_ASCII"),
    ],
)
def test_a_rejected_repair_names_its_code(judge: Any, row: dict[str, str], code: str) -> None:
    """A rule that may not repair names its code, beside others that the unrepaired row breaks."""
    result = judge(row, rules={code: {"on_violation": "reject"}})
    assert result.accepted.is_empty()
    assert code in set(result.rejects["code"])


def test_numbers_of_additional_barcodes_follow_the_rules_of_the_main_one(judge: Any) -> None:
    """Where padding or spreadsheet numbers are rejected, they are in additional barcodes too."""
    for code, text in (("BARCODE_PADDED", "04006381333931"), ("NUMERIC_CELL", "4011.0")):
        row = {"additional_external_product_ids": text}
        assert len(judge(row).accepted) == 1
        assert judge(row, rules={code: {"on_violation": "reject"}}).rejects["code"].to_list() == ["BARCODE_EXTRA"]


@pytest.mark.parametrize(("maximum", "length"), [(10, 10), (200, 200), (1000, 255)])
def test_the_longest_name_is_a_setting_up_to_amazons_limit(judge: Any, maximum: int, length: int) -> None:
    """Names are cut to ``max``, and never above the 255 of Amazon's table."""
    result = judge({"item_name": "w" * 400}, rules={"NAME_LENGTH": {"max": maximum}})
    assert len(result.accepted["item_name"].item()) == length


def test_the_sku_pattern_is_a_setting(judge: Any) -> None:
    """A configured pattern replaces the default one, and is matched in full."""
    rules = {"SKU_FORMAT": {"pattern": "[0-9]+|X/[a-z]"}}
    assert len(judge({"item_sku": "X/a"}, {"item_sku": "1", "external_product_id": "4011"}, rules=rules).accepted) == 2
    assert judge({"item_sku": "1a"}, rules=rules).accepted.is_empty()


def test_a_pattern_that_is_none_is_named(judge: Any) -> None:
    """A broken pattern is an error of the configuration that names the key and the value."""
    with pytest.raises(Misconfigured, match=r"rules\.SKU_FORMAT\.pattern = '\[a-'"):
        judge({}, rules={"SKU_FORMAT": {"pattern": "[a-"}})


def test_eight_digits_that_are_both_follow_the_setting(judge: Any) -> None:
    """Without a type the setting decides what eight digits are that pass both as EAN-8 and as UPC-E."""
    item = judge({"external_product_id": "00000000"}, rules={"BARCODE_TYPE": {"ambiguous": "UPC"}}).accepted
    assert item["external_product_id_type"].to_list() == ["UPC"]


def test_rows_that_share_a_barcode_by_permission_do_not_wait_for_each_other(judge: Any) -> None:
    """With BARCODE_SHARED set to warn, a claimant does not wait for a holder that keeps its claim."""
    result = judge(
        {"item_sku": "A"},
        {"item_sku": "B"},
        rules={"BARCODE_SHARED": {"on_violation": "warn"}},
        holders=[("S1", "A", "00036000291452")],
    )
    assert len(result.accepted) == 2
    assert result.waiting.is_empty()
