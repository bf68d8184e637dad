"""The opponent Singer: a tap that reads the Parquet file, piped into a target with a batch sink of 10,000 records.

Both use the SDK's fast message encoding (msgspec), and the sink holds records to the stream's JSON Schema with a
compiled validator (fastjsonschema, as the SDK's documentation proposes) and drops those that do not fit. JSON Schema
knows no check digit, and a sink no rule over several records, so those rows pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastjsonschema
import msgspec
import pyarrow.parquet as pq
from singer_sdk import BatchSink, Stream, Tap, Target
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecReader, MsgSpecWriter
from tests.bench.child import tell
from tests.bench.names import BATCH, COLUMNS, FURTHER, STORES
from tests.bench.opponents.rules import PRICE, SKU, Payloads, ascii_name, code_type, further, unpadded

_RULES = {
    "item_sku": {"type": "string", "pattern": f"^{SKU.pattern}$"},
    "external_product_id": {"type": "string", "pattern": "^[0-9]{12,13}$"},
    "external_product_id_type": {"type": "string", "enum": ["EAN", "UPC"]},
    "additional_external_product_information": {"type": "array"},
    "item_name": {"type": "string", "minLength": 1, "maxLength": 100},
    "store_id": {"type": "string", "enum": list(STORES)},
    "standard_price": {"type": "string", "pattern": f"^{PRICE.pattern}$"},
    **{
        field: {"type": ["string", "null"], "maxLength": 255}
        for field in ("brand_name", "product_tax_code", "product_category", "product_subcategory")
    },
}
SCHEMA = {"type": "object", "properties": _RULES, "required": list(_RULES)}
_FOLDER = "BENCH_FOLDER"


class Items(Stream):
    """The rows of the file under Amazon's names, repaired."""

    name = "items"
    schema = SCHEMA
    primary_keys = ("store_id", "item_sku")

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        for batch in pq.ParquetFile(self.config["source"]).iter_batches(BATCH):
            for row in batch.to_pylist():
                item = {target: row[column] for column, target in COLUMNS.items()}
                item["item_name"] = ascii_name(item["item_name"])
                code = item["external_product_id"] = unpadded(item["external_product_id"])
                item["external_product_id_type"] = code_type(code)
                item["additional_external_product_information"] = further(row[FURTHER])
                yield item


class ItemTap(Tap):
    """The tap."""

    name = "tap-items"
    config_jsonschema = th.PropertiesList(th.Property("source", th.StringType)).to_dict()
    message_writer_class = MsgSpecWriter

    def discover_streams(self) -> list[Stream]:
        return [Items(self)]


class PayloadSink(BatchSink):
    """Makes one request body of 10,000 records."""

    MAX_SIZE_DEFAULT = BATCH
    max_size = BATCH
    payloads: Payloads

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._holds = fastjsonschema.compile(SCHEMA)

    def get_validator(self) -> None:
        """The SDK's own validation would end the run at the first bad record."""

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        try:
            self._holds(record)
        except fastjsonschema.JsonSchemaValueException:
            return
        context.setdefault("records", []).append(record)

    def process_batch(self, context: dict[str, Any]) -> None:
        items = context.get("records", [])
        if items:
            self.payloads.write(msgspec.json.encode({"catalogItems": items}), len(items))


class PayloadTarget(Target):
    """The target."""

    name = "target-payloads"
    config_jsonschema = th.PropertiesList().to_dict()
    default_sink_class = PayloadSink
    message_reader_class = MsgSpecReader


def main(source: Path, folder: Path) -> dict[str, Any]:
    """Run tap and target, joined by a pipe."""
    PayloadSink.payloads = payloads = Payloads(folder)
    command = [sys.executable, "-m", "tests.bench.opponents.with_singer", "tap", str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tap:
        assert tap.stdout is not None
        PayloadTarget(config={}).listen(tap.stdout)
    if tap.returncode:
        raise SystemExit(f"the tap ended with {tap.returncode}")
    return payloads.counts()


if __name__ == "__main__":
    os.environ.setdefault("SINGER_SDK_LOG_CONFIG", "")
    if sys.argv[1] == "tap":
        ItemTap(config={"source": sys.argv[2]}).sync_all()
    else:
        tell(lambda: main(Path(sys.argv[1]), Path(sys.argv[2])))
