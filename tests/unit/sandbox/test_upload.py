"""The Upload API's answers, as ``upload_catalog`` and ``catalog_upload_test_cases`` document them."""

from __future__ import annotations

import pytest

WRONG = "One or more StoreID's present in the request is incorrect"
MIXED = "List of store ID's present in the request are either incorrect/not associated with same retailer"
INVALID = "Invalid request body"


def refused(response, text):
    assert response.status_code == 400
    assert response.json() == {"errorMsg": text}


def test_a_valid_upload_is_accepted(world, item):
    """An upload is answered 201 with an ingestionId (catalog_api_invoke)."""
    response = world.upload(item())
    assert response.status_code == 201
    assert list(response.json()) == ["ingestionId"]
    assert 1 <= len(response.json()["ingestionId"]) <= 255


def test_only_the_required_fields_are_needed(world, item):
    """item_sku, external_product_id, item_name and store_id suffice (upload_catalog)."""
    required = ("item_sku", "external_product_id", "item_name", "store_id")
    assert world.upload({field: item()[field] for field in required}).status_code == 201


def test_case_1_invalid_store(world, item):
    """Test case 1: one item with one bad store id is a 400 with the documented text (V5)."""
    refused(world.upload(item(store_id="INVALID_STORE_ID")), WRONG)


def test_several_stores_all_wrong(world, item):
    """Several ids, all wrong, give the text of case 1, by its words "One or more" (assumed)."""
    refused(world.upload(item(1, store_id="NO-1"), item(2, store_id="NO-2")), WRONG)


def test_case_2_two_retailers(world, item):
    """Test case 2: stores of two retailers in one request are a 400 with the documented text (V6)."""
    refused(world.upload(item(1), item(2, store_id="GBX-001")), MIXED)


def test_case_3_valid_and_invalid_stores(world, item):
    """Test case 3: valid and invalid ids mixed are a 400 with the text of case 2 (V6)."""
    refused(world.upload(item(1), item(2, store_id="INVALID_STORE_ID")), MIXED)


def test_stores_of_another_retailer_alone_are_incorrect(world, item):
    """S4: a store of another retailer looks like an unknown one."""
    refused(world.upload(item(store_id="GBX-001")), WRONG)


def test_two_retailers_of_one_account_are_still_two(make_world, item):
    """All stores of a request belong to one retailer, also for an account that serves two (V6)."""
    keys = {"AKIASANDBOX0000000001": "sandbox-secret"}
    world = make_world(accounts={"123456789012": {"retailers": ["acme", "globex"], "keys": keys}})
    refused(world.upload(item(1), item(2, store_id="GBX-001")), MIXED)
    assert world.upload(item(2, store_id="GBX-001")).status_code == 201


@pytest.mark.parametrize("body", [{"invalidField": "x"}, [], "text", {"catalogItems": {}}, {"catalogItems": None}])
def test_case_4_invalid_body(world, body):
    """Test case 4: a body without a catalogItems array is a 400 "Invalid request body" (V1)."""
    refused(world.post("upload", body), INVALID)


def test_a_body_that_is_not_json(world):
    """A body that is not JSON is an invalid request body (V1)."""
    refused(world.post("upload", b"{"), INVALID)


def test_an_empty_array(world):
    """S3: catalogItems holds at least one item."""
    refused(world.upload(), INVALID)


def test_case_5_only_the_sku(world):
    """Test case 5: an item with item_sku alone is a 400 "Invalid request body" (V2)."""
    refused(world.upload({"item_sku": "TEST-001"}), INVALID)


@pytest.mark.parametrize("field", ["item_sku", "external_product_id", "item_name", "store_id"])
@pytest.mark.parametrize("value", ["absent", ""])
def test_each_required_field(world, item, field, value):
    """Each required field must be there (V2) and not be empty (S3)."""
    broken = item()
    if value == "absent":
        del broken[field]
    else:
        broken[field] = value
    refused(world.upload(item(2), broken), INVALID)


def test_case_6_too_many_items(world, item):
    """Test case 6: 10,001 items are a 400, 10,000 are not (V3; the text is U3's)."""
    items = [item(1)] * 10_001
    refused(world.upload(*items), "Request exceeds the maximum of 10000 items")
    assert world.upload(*items[:10_000]).status_code == 201


@pytest.mark.parametrize(
    "field",
    [
        "item_sku",
        "external_product_id",
        "external_product_id_type",
        "item_name",
        "store_id",
        "standard_price",
        "brand_name",
        "product_tax_code",
        "product_category",
        "product_subcategory",
    ],
)
def test_case_7_field_length(world, item, field):
    """Test case 7: 256 characters in any field are a 400 (V4, U19; the text is U3's)."""
    refused(world.upload(item(**{field: "1" * 256})), f"Field {field} exceeds the maximum length of 255 characters")


def test_255_characters_pass_the_synchronous_check(world, item):
    """A name of 255 characters is accepted at once (upload_catalog says 255)."""
    assert world.upload(item(item_name="n" * 255)).status_code == 201


@pytest.mark.parametrize("field", ["standard_price", "item_name", "brand_name", "external_product_id"])
def test_every_value_is_a_string(world, item, field):
    """Every value is a JSON string, the price included (upload_catalog)."""
    refused(world.upload(item(**{field: 9.99})), INVALID)
    refused(world.upload(item(**{field: None})), INVALID)


def test_up_to_50_additional_barcodes(world, item):
    """50 additional barcodes are accepted, 51 are not (upload_catalog; the text is S2's)."""
    more = [{"external_product_id": item(n)["external_product_id"]} for n in range(100, 151)]
    field = "additional_external_product_information"
    assert world.upload(item(**{field: more[:50]})).status_code == 201
    refused(world.upload(item(**{field: more})), f"{field} exceeds the maximum of 50 entries")


@pytest.mark.parametrize("more", ["text", [{}], ["123456789012"], [{"external_product_id": 1}], None])
def test_the_shape_of_additional_barcodes(world, item, more):
    """Additional barcodes are an array of objects with an external_product_id (upload_catalog)."""
    refused(world.upload(item(additional_external_product_information=more)), INVALID)


def test_unknown_fields_are_ignored(world, item):
    """Fields that the documents do not name, such as color_name of an older revision, do no harm and are kept."""
    world.upload(item(color_name="red"))
    world.run()
    assert world.rows()["SEA-001", "TEST-001"]["color_name"] == "red"


def test_one_wrong_store_rejects_the_whole_request(world, item):
    """Stores are judged at once and reject the whole request (catalog_upload_test_cases)."""
    world.upload(item(1), item(2, store_id="NO-1"))
    world.run()
    assert world.rows() == {}


def test_a_body_over_10_mb(world):
    """S1: more than 10 MiB is a 413 in the gateway's style."""
    response = world.post("upload", b" " * (10 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert list(response.json()) == ["message"]


def test_a_repeat_is_another_ingestion(world, item):
    """U25: the same upload twice gives two ingestion ids."""
    assert world.upload(item()).json() != world.upload(item()).json()


def test_a_path_that_is_no_operation(world):
    """An unknown path is refused as by a gateway, with 403 and "Missing Authentication Token"."""
    response = world.post("delete", {})
    assert (response.status_code, response.json()) == (403, {"message": "Missing Authentication Token"})


def test_a_stage_path(make_world, item):
    """U1: with a stage, the API lies under it and nowhere else."""
    world = make_world(stage="prod")
    assert world.upload(item()).status_code == 403
    response = world.client.post("/prod/v1/catalog/upload", json={"catalogItems": [item()]})
    assert response.status_code == 201
