"""Whatever arrives, the API answers with a documented status and processing ends."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

#: Text with everything that JSON can carry, halves of character pairs too.
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=8,
)
CODES = st.text("0123456789X- ", min_size=1, max_size=14)
ITEM = st.fixed_dictionaries(
    {"item_sku": TEXT, "external_product_id": TEXT | CODES, "item_name": TEXT, "store_id": st.just("SEA-001")},
    optional={
        "external_product_id_type": st.sampled_from(["UPC", "EAN8", "EAN", "ISBN", "GTIN", "PLU", ""]) | TEXT,
        "standard_price": TEXT,
        "brand_name": TEXT,
        "additional_external_product_information": st.lists(st.fixed_dictionaries({"external_product_id": CODES})),
        "more": JSON,
    },
)
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RELAXED
@given(body=JSON, operation=st.sampled_from(["upload", "archive", "getCatalogUploadStatus"]))
def test_any_json(world, body, operation):
    """Any JSON that is no request is a 400 with an errorMsg."""
    response = world.post(operation, body)
    assert response.status_code == 400
    assert isinstance(response.json()["errorMsg"], str)


@RELAXED
@given(body=st.binary(max_size=50))
def test_any_bytes(world, body):
    """Any bytes that are no request are a 400."""
    assert world.post("upload", body).status_code == 400


@RELAXED
@given(items=st.lists(ITEM, min_size=1, max_size=5))
def test_any_texts(world, items):
    """Any texts in the fields are refused or processed to the end, and the catalog can be read."""
    response = world.upload(*items)
    if response.status_code == 400:
        assert not all(item[field] for item in items for field in ("item_sku", "external_product_id", "item_name"))
        return
    report = world.report(response)
    assert report["summary"]["totalItems"] == len(items)
    applied = {line["itemSku"] for line in report["items"] if line["status"] == "SUCCESS"}
    assert applied <= {sku for _, sku in world.rows()}
