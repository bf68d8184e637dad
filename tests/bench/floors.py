"""The floors under our own times: the least that any program must do, with the fastest library, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import zstandard
from tests.bench.child import tell
from tests.bench.names import BATCH

_ITEM = (
    "item_sku", "external_product_id", "external_product_id_type", "additional_external_product_information",
    "item_name", "store_id", "standard_price", "brand_name", "product_tax_code", "product_category",
    "product_subcategory",
)  # fmt: skip


def write_payloads(items: Path, folder: Path) -> dict[str, Any]:
    """Read items that are ready to be sent from Parquet, and write them as the same compressed JSON bytes as we do."""
    folder.mkdir(parents=True)
    rows = pl.read_parquet(items)
    texts = rows.select(json=pl.struct(_ITEM).struct.json_encode())["json"]
    written = 0
    for number, first in enumerate(range(0, len(rows), BATCH), 1):
        body = ('{"catalogItems":[' + ",".join(texts[first : first + BATCH].to_list()) + "]}").encode()
        written += len(body)
        (folder / f"{number:05d}.json.zst").write_bytes(zstandard.ZstdCompressor(level=1).compress(body))
    return {"accepted": len(rows), "bytes": written}


def read_once(source: Path, table: Path) -> dict[str, Any]:
    """Read the source and the acknowledged rows, once."""
    rows = pl.read_parquet(source)
    state = pl.read_delta(str(table))
    return {"rows": len(rows), "state": len(state)}


def gather_items(batches: Path, file: Path) -> dict[str, Any]:
    """Write the items of a plan's payloads, one after the other, as one Parquet file."""
    text, code = pl.String(), pl.Struct({"external_product_id": pl.String, "external_product_id_type": pl.String})
    item = pl.Struct({field: pl.List(code) if field.startswith("additional") else text for field in _ITEM})
    frames = []
    for payload in sorted(batches.rglob("*.json.zst")):
        body = zstandard.ZstdDecompressor().decompress(payload.read_bytes())
        whole = pl.read_json(body, schema={"catalogItems": pl.List(item)})
        frames.append(whole["catalogItems"].explode().struct.unnest())
    frame = pl.concat(frames)
    frame.write_parquet(file, compression="zstd", compression_level=1)
    return {"rows": len(frame)}


if __name__ == "__main__":
    works = {"payloads": write_payloads, "read": read_once, "items": gather_items}
    tell(lambda: works[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3])))
