"""The opponent dlt: a resource with a schema contract, and a custom destination in batches of 10,000.

The contract is a Pydantic model, dlt's own way to hold rows to rules: a row that breaks it is discarded
(``schema_contract``). Normalisation uses both cores, which dlt does with files of bounded size. dlt has no rule over
several rows, so differing duplicates pass; and it keeps no account of what it discarded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import dlt
import orjson
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, Field
from tests.bench.child import tell
from tests.bench.names import BATCH, COLUMNS, FURTHER, STORES
from tests.bench.opponents.rules import PRICE, SKU, Payloads, ascii_name, code_type, further, passes, unpadded


def _checked(code: str) -> str:
    if not passes(code):
        raise ValueError("check digit")
    return code


Text = Annotated[str | None, Field(max_length=255)]


class Item(BaseModel):
    """An item as sent; what does not fit is discarded."""

    item_sku: Annotated[str, Field(pattern=f"^{SKU.pattern}$")]
    external_product_id: Annotated[str, Field(pattern=r"^\d{12,13}$"), AfterValidator(_checked)]
    external_product_id_type: Literal["EAN", "UPC"]
    additional_external_product_information: list[dict[str, str]]
    item_name: Annotated[str, Field(min_length=1, max_length=100)]
    store_id: Literal[STORES]  # type: ignore[valid-type]
    standard_price: Annotated[str, Field(pattern=f"^{PRICE.pattern}$")]
    brand_name: Text
    product_tax_code: Text
    product_category: Text
    product_subcategory: Text


def rows(source: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield the source's rows under Amazon's names, repaired."""
    for batch in pq.ParquetFile(source).iter_batches(BATCH):
        made = []
        for row in batch.to_pylist():
            item = {target: row[column] for column, target in COLUMNS.items()}
            item["item_name"] = ascii_name(item["item_name"])
            code = item["external_product_id"] = unpadded(item["external_product_id"])
            item["external_product_id_type"] = code_type(code)
            item["additional_external_product_information"] = further(row[FURTHER])
            made.append(item)
        yield made


def main(source: Path, folder: Path) -> dict[str, Any]:
    """Make payloads of the source."""
    payloads = Payloads(folder / "payloads")

    @dlt.destination(
        batch_size=BATCH, loader_file_format="typed-jsonl", name="payloads", naming_convention="direct",
        max_table_nesting=0, skip_dlt_columns_and_tables=True,
    )  # fmt: skip
    def write(items: list[dict[str, Any]], table: Any) -> None:
        payloads.write(orjson.dumps({"catalogItems": items}), len(items))

    resource = dlt.resource(
        rows(source),
        name="items",
        columns=Item,
        schema_contract={"tables": "evolve", "columns": "discard_row", "data_type": "discard_row"},
        max_table_nesting=0,
    )
    pipeline = dlt.pipeline("bench", pipelines_dir=str(folder / "pipelines"), destination=write, dataset_name="bench")
    pipeline.run(resource)
    return payloads.counts()


if __name__ == "__main__":
    os.environ.update(
        {
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "ERROR",
            "NORMALIZE__WORKERS": "2",
            "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "100000",
            "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "100000",
            # One writer: the payloads are numbered.
            "LOAD__WORKERS": "1",
        }
    )
    tell(lambda: main(Path(sys.argv[1]), Path(sys.argv[2])))
