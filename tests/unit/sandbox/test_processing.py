"""What processing does with the items of an upload: upsert, item errors, states in time."""

from __future__ import annotations

import pytest

EXTRA = "additional_external_product_information"


def test_states_in_their_order(world, item):
    """INQUEUE, INPROGRESS, DONE, and nothing is in the catalog before the end (get_catalog_upload_status)."""
    response = world.upload(item())
    seen = []
    for _ in range(200):
        status = world.status(response)["processingStatus"]
        if seen[-1:] != [status]:
            seen.append(status)
        assert bool(world.rows()) == (status == "DONE")
        world.run(1)
    assert seen == ["INQUEUE", "INPROGRESS", "DONE"]


def test_time_scale(make_world, item):
    """Processing is as much faster as the time scale says."""
    world = make_world(time_scale=100)
    response = world.upload(item())
    world.run(1.3)
    assert world.status(response)["processingStatus"] == "DONE"


def test_insert_and_update(world, item):
    """A new SKU is inserted and a known one updated with the whole record (catalog_reference_architecture)."""
    assert world.outcome(item(brand_name="A")) == [""]
    changed = item(item_name="Other Name")
    assert world.outcome(changed) == [""]
    assert world.rows() == {("SEA-001", "TEST-001"): {**changed, "state": "ACTIVE", "store": "SEA-001"}}


def test_one_row_per_sku_and_store(world, item):
    """The same SKU in two stores is two rows (one row per SKU and store)."""
    assert world.outcome(item(), item(store_id="PDX-001")) == ["", ""]
    assert set(world.rows()) == {("SEA-001", "TEST-001"), ("PDX-001", "TEST-001")}


@pytest.mark.parametrize("sku", ["TEST 1", "TEST®", "TÉST", "TEST/1", "TEST+"])
def test_sku_characters(world, item, sku):
    """V10: a SKU with special or high-ASCII characters is an item error (catalog_data_overview)."""
    assert world.outcome(item(item_sku=sku)) == ["SKU_FORMAT"]


@pytest.mark.parametrize("name", ["n" * 101, "Café", "Cola®", "tab\there"])
def test_name(world, item, name):
    """V11: a name over 100 characters or with other than printable ASCII is an item error (catalog_maintenance)."""
    assert world.outcome(item(item_name=name)) == ["ITEM_NAME"]


def test_a_name_of_100_characters(world, item):
    """V11: a name of 100 characters is applied."""
    assert world.outcome(item(item_name="n" * 100)) == [""]


@pytest.mark.parametrize("price", ["", "0", "9.5", "9.99", "1000"])
def test_good_prices(world, item, price):
    """U17: a non-negative number with at most two decimals."""
    assert world.outcome(item(standard_price=price)) == [""]


@pytest.mark.parametrize("price", ["-1", "9.999", "1,000.00", "9,99", "$1", "1e3", "٣", " 1"])
def test_bad_prices(world, item, price):
    """U17, V14: any other price is an item error."""
    assert world.outcome(item(standard_price=price)) == ["PRICE_FORMAT"]


def test_bad_items_do_not_spoil_the_batch(world, item):
    """U9: a batch with a bad item ends DONE; the good items are applied and the report says which is which."""
    response = world.upload(item(1), item(2, external_product_id="123456789013"), item(3))
    report = world.report(response)
    assert world.status(response)["processingStatus"] == "DONE"
    assert report["summary"] == {"totalItems": 3, "succeeded": 2, "failed": 1}
    assert {sku for _, sku in world.rows()} == {"TEST-001", "TEST-003"}


def test_amazons_own_wrong_check_digit_passes_the_synchronous_check(world, item):
    """Check digits are judged in processing: Amazon's test payload 123456789013 is accepted, then refused."""
    assert world.upload(item(external_product_id="123456789013")).status_code == 201


def test_the_report(world, item):
    """U14: the report has the assumed keys, one line per item."""
    response = world.upload(item(1), item(2, standard_price="x"))
    report = world.report(response)
    assert report == {
        "ingestionId": response.json()["ingestionId"],
        "processingStatus": "DONE",
        "summary": {"totalItems": 2, "succeeded": 1, "failed": 1},
        "items": [
            {"itemSku": "TEST-001", "storeId": "SEA-001", "status": "SUCCESS", "errorCode": "", "errorMessage": ""},
            {
                "itemSku": "TEST-002",
                "storeId": "SEA-001",
                "status": "FAILED",
                "errorCode": "PRICE_FORMAT",
                "errorMessage": "standard_price must be a non-negative number with at most two decimals",
            },
        ],
    }


def test_failures_only(make_world, item):
    """With failures_only a report lists the failures and the summary counts everything."""
    world = make_world(failures_only=True)
    report = world.report(world.upload(item(1), item(2, standard_price="x")))
    assert [line["itemSku"] for line in report["items"]] == ["TEST-002"]
    assert report["summary"] == {"totalItems": 2, "succeeded": 1, "failed": 1}


def test_last_of_two_equal_keys_wins(world, item):
    """U20: of two items with one SKU and store the last is applied, and the other carries a warning."""
    report = world.report(world.upload(item(item_name="First"), item(item_name="Last")))
    assert [line["status"] for line in report["items"]] == ["SUCCESS", "SUCCESS"]
    assert [line.get("warningCode") for line in report["items"]] == ["DUPLICATE_ITEM", None]
    assert world.rows()["SEA-001", "TEST-001"]["item_name"] == "Last"


def test_the_last_counts_even_when_it_is_refused(world, item):
    """U20: when the last of two equal keys is refused neither is applied, and both lines say so."""
    assert world.outcome(item(), item(standard_price="x")) == ["PRICE_FORMAT", "PRICE_FORMAT"]
    assert world.rows() == {}


def test_barcode_of_another_active_sku(world, item):
    """U21: a barcode that another active SKU of the store has is an item error."""
    world.outcome(item(1))
    assert world.outcome(item(2, external_product_id=item(1)["external_product_id"])) == ["BARCODE_IN_USE"]


def test_a_barcode_may_be_in_two_stores(world, item):
    """U21 is judged per store."""
    other = item(2, external_product_id=item(1)["external_product_id"], store_id="PDX-001")
    assert world.outcome(item(1), other) == ["", ""]


@pytest.mark.parametrize(("kind", "prefix"), [("EAN", "0"), ("GTIN", "00")])
def test_barcodes_are_compared_as_gtin_14(world, item, kind, prefix):
    """U21: one number written as UPC, EAN and GTIN is one barcode."""
    same = prefix + item(1)["external_product_id"]
    second = item(2, external_product_id=same, external_product_id_type=kind)
    assert world.outcome(item(1), second) == ["", "BARCODE_IN_USE"]


def test_a_upc_e_is_its_upc_a(world, item):
    """U21: Amazon's example 07838604 and its expansion 078000003864 are one barcode."""
    first = item(1, external_product_id="07838604")
    assert world.outcome(first, item(2, external_product_id="078000003864")) == ["", "BARCODE_IN_USE"]


def test_additional_barcodes_count_too(world, item):
    """U21: main and additional barcodes are compared together."""
    first = item(1, **{EXTRA: [{"external_product_id": item(9)["external_product_id"]}]})
    assert world.outcome(first, item(9)) == ["", "BARCODE_IN_USE"]


def test_a_barcode_moves_once_it_was_given_up(world, item):
    """U36: the holder takes another barcode earlier in the same request, so the barcode is free."""
    world.outcome(item(1))
    mover = item(2, external_product_id=item(1)["external_product_id"])
    freed = item(1, external_product_id=item(8)["external_product_id"])
    assert world.outcome(mover, freed) == ["BARCODE_IN_USE", ""]
    assert world.outcome(mover) == [""]


def test_a_barcode_moves_within_one_request(world, item):
    """U36: in the other order both are applied."""
    world.outcome(item(1))
    mover = item(2, external_product_id=item(1)["external_product_id"])
    freed = item(1, external_product_id=item(8)["external_product_id"])
    assert world.outcome(freed, mover) == ["", ""]


def test_a_refused_update_leaves_the_old_row(world, item):
    """U35: a refused update leaves the row, and its barcode, as they were."""
    world.outcome(item(1, item_name="Old"))
    assert world.outcome(item(1, item_name="New", standard_price="x")) == ["PRICE_FORMAT"]
    assert world.rows()["SEA-001", "TEST-001"]["item_name"] == "Old"
    assert world.outcome(item(2, external_product_id=item(1)["external_product_id"])) == ["BARCODE_IN_USE"]


def test_additional_barcodes_are_replaced(world, item):
    """U22: a re-upload replaces the additional barcodes; the old ones are free."""
    world.outcome(item(1, **{EXTRA: [{"external_product_id": item(9)["external_product_id"]}]}))
    assert world.outcome(item(1, **{EXTRA: []}), item(9)) == ["", ""]


def test_omitted_fields_are_cleared(world, item):
    """U23: a re-upload without an optional field clears it."""
    world.outcome(item(1, brand_name="Brand"))
    world.outcome(item(1))
    assert "brand_name" not in world.rows()["SEA-001", "TEST-001"]


def test_an_additional_barcode_is_judged_like_the_main_one(world, item):
    """V12 holds for additional barcodes too."""
    bad = {"external_product_id": "123456789013", "external_product_id_type": "UPC"}
    assert world.outcome(item(1, **{EXTRA: [bad]})) == ["BARCODE_CHECK_DIGIT"]


def test_uploads_may_overtake_each_other(world, item):
    """U24: there is no order among ingestions: delays vary, so some younger one ends before an older one."""
    ids = [world.upload(item(n)).json()["ingestionId"] for n in range(1, 30)]
    world.run(10_000)
    ended = sorted(world.core.records(), key=lambda record: record["ended_at"])
    assert [record["ingestion_id"] for record in ended] != ids


def test_propagation_starts_at_done(world, item):
    """U32: the stores know the items an hour after DONE."""
    world.upload(item())
    world.run()
    record = world.core.records()[0]
    assert record["populated_at"] - record["ended_at"] == pytest.approx(3600)
