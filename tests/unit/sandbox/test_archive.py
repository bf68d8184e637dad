"""The Archive API, as ``archive_catalog_api`` documents it."""

from __future__ import annotations

import pytest


def codes(world, response):
    return [(line["itemSku"], line["errorCode"]) for line in world.report(response)["items"]]


def test_archive_in_all_stores(world, item):
    """An archive is asynchronous, answers with an ingestionId and marks the SKU ARCHIVED in every store."""
    world.outcome(item(), item(store_id="PDX-001"), item(2))
    response = world.archive(["TEST-001"])
    assert response.status_code == 201
    assert codes(world, response) == [("TEST-001", "")]
    states = {key: row["state"] for key, row in world.rows().items()}
    assert states == {
        ("SEA-001", "TEST-001"): "ARCHIVED",
        ("PDX-001", "TEST-001"): "ARCHIVED",
        ("SEA-001", "TEST-002"): "ACTIVE",
    }


def test_the_status_call_serves_archives_too(world, item):
    """An archive ingestion is followed by the same status call and by a notice."""
    world.outcome(item())
    response = world.archive(["TEST-001"])
    assert world.status(response)["processingStatus"] == "INQUEUE"
    world.run()
    assert world.status(response)["processingStatus"] == "DONE"
    assert world.notices[-1]["ingestionId"] == response.json()["ingestionId"]


def test_a_missing_store_is_an_error_that_lists_all(world):
    """When a store of the retailer is missing the error lists all available stores (V15; U26: a 400)."""
    response = world.archive(["TEST-001"], world.stores[:5])
    assert response.status_code == 400
    assert list(response.json()) == ["errorMsg"]
    assert all(store in response.json()["errorMsg"] for store in world.stores)
    assert "GBX-001" not in response.json()["errorMsg"]


def test_stores_that_are_not_the_retailers(world):
    """U26: further stores in the list are refused like those of an upload."""
    for extra in ("NO-1", "GBX-001"):
        response = world.archive(["TEST-001"], (*world.stores, extra))
        assert (response.status_code, "not associated with same retailer" in response.text) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"itemSkus": ["A"]},
        {"allApplicableStores": ["SEA-001"]},
        {"itemSkus": [], "allApplicableStores": ["SEA-001"]},
        {"itemSkus": [1], "allApplicableStores": ["SEA-001"]},
        {"itemSkus": "A", "allApplicableStores": ["SEA-001"]},
    ],
)
def test_both_lists_are_required(world, body):
    """itemSkus and allApplicableStores are both required lists of strings."""
    response = world.post("archive", body)
    assert (response.status_code, response.json()) == (400, {"errorMsg": "Invalid request body"})


def test_at_most_10000_skus(world):
    """10,001 SKUs are refused at once, 10,000 are not."""
    skus = [f"S{number}" for number in range(10_001)]
    assert world.archive(skus).status_code == 400
    assert world.archive(skus[:10_000]).status_code == 201


def test_sku_errors_are_in_the_report(world, item):
    """SKUs that are unknown, archived already or on a planogram fail in the report, the others are archived (V16)."""
    world.outcome(item(1), item(2), item(3))
    world.script(planogram=["TEST-003"])
    assert codes(world, world.archive(["TEST-001"])) == [("TEST-001", "")]
    response = world.archive(["TEST-001", "TEST-002", "TEST-003", "NONE"])
    assert codes(world, response) == [
        ("TEST-001", "SKU_ALREADY_ARCHIVED"),
        ("TEST-002", ""),
        ("TEST-003", "SKU_ON_PLANOGRAM"),
        ("NONE", "SKU_NOT_FOUND"),
    ]


def test_history_is_kept(world, item):
    """An archived item is still there with all its fields."""
    world.outcome(item())
    world.report(world.archive(["TEST-001"]))
    assert world.rows()["SEA-001", "TEST-001"] == {**item(), "state": "ARCHIVED", "store": "SEA-001"}


def test_upload_reactivates(world, item):
    """U34: an upload makes an archived SKU active again, in its store only."""
    world.outcome(item(), item(store_id="PDX-001"))
    world.report(world.archive(["TEST-001"]))
    assert world.outcome(item()) == [""]
    states = {store: row["state"] for (store, _), row in world.rows().items()}
    assert states == {"SEA-001": "ACTIVE", "PDX-001": "ARCHIVED"}


def test_a_partly_archived_sku_can_be_archived_again(world, item):
    """A SKU that is active in one of its stores can be archived."""
    world.outcome(item(), item(store_id="PDX-001"))
    world.report(world.archive(["TEST-001"]))
    world.outcome(item())
    assert codes(world, world.archive(["TEST-001"])) == [("TEST-001", "")]


def test_an_archived_sku_gives_its_barcode_up(world, item):
    """U21, U36: only an active SKU holds a barcode; taking it back needs the new holder to give it up."""
    world.outcome(item(1))
    world.report(world.archive(["TEST-001"]))
    taker = item(2, external_product_id=item(1)["external_product_id"])
    assert world.outcome(taker) == [""]
    assert world.outcome(item(1)) == ["BARCODE_IN_USE"]
    assert world.rows()["SEA-001", "TEST-001"]["state"] == "ARCHIVED"
