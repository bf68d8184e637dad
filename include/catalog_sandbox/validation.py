"""What the API refuses at once, with the documented texts; everything else is judged in processing.

Source: ``catalog_upload_test_cases`` (the ten failure cases), ``upload_catalog``, ``archive_catalog_api``,
``get_catalog_upload_status``; V1 to V6 are the rules' numbers in the project's fact sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog_sandbox.catalog import FIELDS
from catalog_sandbox.config import SandboxConfig

#: ``upload_catalog``, ``archive_catalog_api``: at most 10,000 items in a request.
MAX_ITEMS = 10_000
#: ``upload_catalog``: at most 255 characters in a field.
MAX_LENGTH = 255
#: ``upload_catalog``: at most 50 additional barcodes.
MAX_ADDITIONAL = 50

#: ``catalog_upload_test_cases``, word for word.
INVALID_BODY = "Invalid request body"
WRONG_STORE = "One or more StoreID's present in the request is incorrect"
MIXED_STORES = "List of store ID's present in the request are either incorrect/not associated with same retailer"
#: Own texts: Amazon's are not public (U3).
TOO_MANY_ITEMS = f"Request exceeds the maximum of {MAX_ITEMS} items"
TOO_LONG = f"Field {{field}} exceeds the maximum length of {MAX_LENGTH} characters"
TOO_MANY_BARCODES = f"additional_external_product_information exceeds the maximum of {MAX_ADDITIONAL} entries"
UNKNOWN_INGESTION = "InvalidRequestException: ingestionId is invalid or not associated with any of your retailers"
BAD_STATUS_REQUEST = "BadRequestException: the request must be a JSON object with a string ingestionId of 1 to 255"

_REQUIRED = ("item_sku", "external_product_id", "item_name", "store_id")
_ADDITIONAL = "additional_external_product_information"
_TEXT = tuple(field for field in FIELDS if field != _ADDITIONAL)
_BARCODE_TEXT = ("external_product_id", "external_product_id_type")


class Invalid(Exception):
    """The request is refused with HTTP 400 and this text as ``errorMsg``."""


def check_upload(body: Any, config: SandboxConfig, account: str) -> list[dict[str, Any]]:
    """Return the items of an upload, or raise Invalid."""
    items = body.get("catalogItems") if isinstance(body, dict) else None
    if not isinstance(items, list) or not items:
        raise Invalid(INVALID_BODY)
    if len(items) > MAX_ITEMS:
        raise Invalid(TOO_MANY_ITEMS)
    for item in items:
        _check_item(item)
    _check_stores({item["store_id"] for item in items}, config, account)
    return items


def _check_item(item: Any) -> None:
    if not isinstance(item, dict) or not all(item.get(field) for field in _REQUIRED):
        raise Invalid(INVALID_BODY)
    _check_texts(item, _TEXT)
    additional = item.get(_ADDITIONAL, [])
    if not isinstance(additional, list):
        raise Invalid(INVALID_BODY)
    if len(additional) > MAX_ADDITIONAL:
        raise Invalid(TOO_MANY_BARCODES)
    for barcode in additional:
        if not isinstance(barcode, dict) or not barcode.get("external_product_id"):
            raise Invalid(INVALID_BODY)
        _check_texts(barcode, _BARCODE_TEXT)


def _check_texts(values: dict[str, Any], fields: Sequence[str]) -> None:
    for field in fields:
        value = values.get(field, "")
        if not isinstance(value, str):
            raise Invalid(INVALID_BODY)
        if len(value) > MAX_LENGTH:
            raise Invalid(TOO_LONG.format(field=field))


def _check_stores(stores: set[str], config: SandboxConfig, account: str) -> None:
    """V5: no store is the caller's. V6: some are and some are not, or they are of two retailers."""
    mine = config.accounts[account].retailers
    retailers = {config.retailer_of(store) for store in stores}
    if not retailers & set(mine):
        raise Invalid(MIXED_STORES if len(retailers) > 1 else WRONG_STORE)
    if len(retailers) > 1:
        raise Invalid(MIXED_STORES)


def check_archive(body: Any, config: SandboxConfig, account: str) -> list[str]:
    """Return the SKUs of an archive request, or raise Invalid.

    ``allApplicableStores`` must name every store of the retailer; when one is missing the text lists all of them
    (``archive_catalog_api``).
    """
    if not isinstance(body, dict):
        raise Invalid(INVALID_BODY)
    skus, stores = _texts(body.get("itemSkus")), _texts(body.get("allApplicableStores"))
    if len(skus) > MAX_ITEMS:
        raise Invalid(TOO_MANY_ITEMS)
    for sku in skus:
        _check_texts({"itemSkus": sku}, ("itemSkus",))
    given = set(stores)
    mine = config.accounts[account].retailers
    meant = [retailer for retailer in mine if given & set(config.retailers[retailer])] or mine
    expected = [store for retailer in meant for store in config.retailers[retailer]]
    if missing := [store for store in expected if store not in given]:
        raise Invalid(
            f"allApplicableStores must contain every store of the retailer; missing: {', '.join(missing)}; "
            f"all available stores: {', '.join(expected)}"
        )
    _check_stores(given, config, account)
    return skus


def _texts(value: Any) -> list[str]:
    """Return a list of non-empty strings that has at least one, or raise Invalid."""
    if not isinstance(value, list) or not value or not all(isinstance(text, str) and text for text in value):
        raise Invalid(INVALID_BODY)
    return value


def check_status(body: Any) -> str:
    """Return the ingestion id that a status request asks for, or raise Invalid."""
    wanted = body.get("ingestionId") if isinstance(body, dict) else None
    if not isinstance(wanted, str) or not 1 <= len(wanted) <= MAX_LENGTH:
        raise Invalid(BAD_STATUS_REQUEST)
    return wanted
