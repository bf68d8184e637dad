"""An item as it is sent: its JSON text, the one source of its content hash, its size and its batch's payload."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import polars as pl
import polars_hash as plh

from catalog_sync.fields import ADDITIONAL, ITEM_FIELDS, STORE_FIELDS

if TYPE_CHECKING:
    from catalog_sync.contract.trade_items import Items

BARCODES = pl.List(pl.Struct({"external_product_id": pl.String, "external_product_id_type": pl.String}))
#: The columns of an item frame.
ITEM = {field: BARCODES if field == ADDITIONAL else pl.String() for field in ITEM_FIELDS}

#: Hex digits kept of the SHA-256 of an item's JSON: 128 bits, far beyond chance for any catalog.
HASH_DIGITS = 32
#: What stands around the items of a request body (``upload_catalog``: ``{"catalogItems": [...]}``).
HEAD, TAIL = '{"catalogItems":[', "]}"


def with_payload(items: Items) -> pl.DataFrame:
    """Return the items' rows with ``item_json`` (the item as sent), ``item_bytes`` and ``content_hash`` added.

    Every field is always sent, empty ones as ``""`` and no further barcodes as ``[]``: whether Amazon keeps or clears
    what is left out is not documented (U22, U23). What stores share is encoded once for all of them.
    """
    first, last = ITEM_FIELDS.index(STORE_FIELDS[0]), ITEM_FIELDS.index(STORE_FIELDS[-1])
    shared = items.trade_items.select(
        head=pl.struct(ITEM_FIELDS[:first]).struct.json_encode().str.strip_suffix("}"),
        tail=pl.struct(ITEM_FIELDS[last + 1 :]).struct.json_encode().str.strip_prefix("{"),
    )[items.rows["trade_item"]]
    own = pl.struct(STORE_FIELDS).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
    return (
        items.rows.hstack(shared)
        .with_columns(item_json=pl.concat_str("head", own, "tail", separator=","))
        .drop("head", "tail")
        .with_columns(item_bytes=pl.col("item_json").str.len_bytes())
        .with_columns(content_hash=plh.col("item_json").chash.sha2_256().str.head(HASH_DIGITS))
    )


def body(item_jsons: pl.Series) -> bytes:
    """Return the request body of the items, given as a series of their JSON texts."""
    return f"{HEAD}{item_jsons.str.join(',').item()}{TAIL}".encode()


def ranges(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return for each store of a batch where its rows begin (``start``) and end (before ``stop``).

    :param rows: the batch's rows, those of a store together.
    """
    found = rows.with_row_index("_place").group_by("store_id", maintain_order=True).agg(
        start=pl.col("_place").min(), stop=pl.col("_place").max() + 1
    )  # fmt: skip
    return [{"store": store, "start": start, "stop": stop} for store, start, stop in found.iter_rows()]


def items_of(payload: bytes) -> pl.DataFrame:
    """Return the item frame whose ``body`` the payload is."""
    return pl.read_json(io.BytesIO(payload[len(HEAD) - 1 : -1]), schema=ITEM)


def overhead(items: int) -> int:
    """Return how many bytes a body of ``items`` items has beside the items themselves."""
    return len(HEAD) + len(TAIL) + max(items - 1, 0)
