"""What the owners of sources are told: what was repaired and rejected, in their own columns, when there is news."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.stories.outbox import Outbox
from tests.unit.stories.world import World, row

from catalog_sync.run import Kind
from catalog_sync.settings import Settings
from catalog_sync.source_lines import column_of
from catalog_sync.source_notices import make_source_notices
from catalog_sync.tell import tell


def told(world: World, name: str, **options: Any) -> dict[str, Any]:
    """Tell of a run; return its notices to sources, by source."""
    run = world.job(name, **options).open()
    tell(run)
    return {one["source"]: one for one in make_source_notices(run)}


def night(world: World, name: str, items: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """Do a whole night and tell of it."""
    world.night(name, items)
    return told(world, name)


def text(world: World, notice: dict[str, Any], kind: str = "md") -> str:
    """One of a notice's files."""
    return world.job("any").open().lake.get(notice["files"][kind]).decode("utf-8-sig")


def lines(world: World, notice: dict[str, Any], *columns: str) -> list[tuple[str, ...]]:
    """Some columns of the CSV."""
    return [tuple(line[name] for name in columns) for line in csv.DictReader(io.StringIO(text(world, notice, "csv")))]


def of_sources(outbox: Outbox) -> list[str]:
    """The subjects of what the owners of sources got."""
    return [subject for subject in outbox.subjects() if subject.startswith("Source")]


FAULTY = [row(0), row(1, "Caf\u00e9  au lait"), {**row(2), "gtin": "012345678901"}]


def test_the_owner_reads_what_was_wrong_in_the_columns_of_the_source(world: World, outbox: Outbox) -> None:
    """Code, row, column, value before and after, why, and what to do."""
    made = night(world, "n1", FAULTY)["erp"]
    assert of_sources(outbox) == ["Source erp: 1 rejected, 1 repaired; 3 new"]
    repaired = {"NAME_ASCII": 1, "NAME_TRIM": 1}
    assert made["rows"] == {"rejected": {"BARCODE_CHECK_DIGIT": 1}, "warned": {}, "repaired": repaired}
    assert lines(world, made, "what", "code", "row", "item_sku", "column", "before", "after") == [
        ("rejected", "BARCODE_CHECK_DIGIT", "3", "SKU-2", "gtin", "012345678901", ""),
        ("repaired", "NAME_TRIM", "2", "SKU-1", "descr", "Caf\u00e9  au lait", "Caf\u00e9 au lait"),
        ("repaired", "NAME_ASCII", "2", "SKU-1", "descr", "Caf\u00e9 au lait", "Cafe au lait"),
    ]  # fmt: skip
    page = text(world, made)
    assert "| BARCODE\\_CHECK\\_DIGIT | 1 | 1 | A digit is wrong, most likely typed: scan the product. |" in page
    assert "| new | items.csv | 3 | SEA-001 | SKU-2 | gtin | 012345678901 |" in page


def test_a_message_goes_out_only_when_there_is_news(world: World, outbox: Outbox) -> None:
    """The same faults the next night, in other rows of the file: a file, no message; then one fault more."""
    night(world, "n1", FAULTY)
    assert outbox.sent[-1].severity == "warning"
    outbox.subjects()
    again = night(world, "n2", list(reversed(FAULTY)))["erp"]
    assert (of_sources(outbox), again["new"]) == ([], {"rejected": 0, "warned": 0, "repaired": 0})
    assert again["subject"] == "Source erp: 1 rejected, 1 repaired"
    more = night(world, "n3", [*FAULTY, row(4, " A")])["erp"]
    assert more["new"] == {"rejected": 0, "warned": 0, "repaired": 1}
    assert [(message.subject, message.severity) for message in outbox.sent if "Source" in message.subject] == [
        ("Source erp: 1 rejected, 2 repaired; 1 new", "info")
    ]
    assert lines(world, more, "item_sku", "new")[0] == ("SKU-4", "true")
    assert (told(world, "n3")["erp"], of_sources(outbox)[1:]) == (more, [])


def test_a_run_for_some_skus_sends_no_message_and_is_no_measure(world: World, outbox: Outbox) -> None:
    """What it saw is a part; the next night compares with the last night."""
    night(world, "n1", FAULTY)
    outbox.subjects()
    world.job("b1", Kind.BACKFILL, skus=("SKU-0",)).whole()
    assert told(world, "b1", kind=Kind.BACKFILL, skus=("SKU-0",))["erp"]["rows"]["rejected"] == {}
    assert night(world, "n2")["erp"]["new"] == {"rejected": 0, "warned": 0, "repaired": 0}
    assert of_sources(outbox) == []


def test_a_field_of_another_source_is_told_to_that_source(world: World, outbox: Outbox, tmp_path: Path) -> None:
    """The name comes from merchandising, the barcode from the ERP: each reads of its own, with its own row."""
    merch = tmp_path / "merch.csv"
    merch.write_text("sku,store,title\nSKU-9,SEA-001,Other\n SKU-2 ,SEA-001,  Two\n", encoding="utf-8")
    world.changes |= {
        "sources": [
            {
                "name": "merch", "kind": "file", "path": str(merch), "format": "csv",
                "mapping": {"item_sku": "sku", "store_id": "store", "item_name": "title"},
            },
            {
                "name": "erp", "kind": "file", "path": str(world.source), "format": "csv",
                "mapping": {
                    "item_sku": "item_no", "external_product_id": "gtin", "store_id": "store_no",
                    "item_name": {"expression": "UPPER(descr)"},
                },
            },
        ],
        "merge": {"precedence": ["merch", "erp"]}, "mapping": {},
    }  # fmt: skip
    made = night(world, "n1", [row(1, "  b"), {**row(2), "gtin": "12-3X"}])
    columns = ("code", "row", "item_sku", "column", "before")
    assert lines(world, made["erp"], *columns) == [
        ("BARCODE_FORMAT", "2", "SKU-2", "gtin", "12-3X"),
        ("NAME_TRIM", "1", "SKU-1", "expression: UPPER(descr)", "  B"),
    ]
    assert lines(world, made["merch"], *columns) == [
        ("REQUIRED", "1", "SKU-9", "(external_product_id, not in this source)", ""),
    ]


def test_hostile_values_stay_text(world: World, outbox: Outbox) -> None:
    """A formula, Markdown and HTML in a value; a subject of one line."""
    made = night(world, "n1", [{**row(1, "ok"), "retail": "=1+1|<img src=x>"}])["erp"]
    assert ("'=1+1|<img src=x>",) in lines(world, made, "before")
    assert "=1+1\\|\\<img src=x\\>" in text(world, made)
    assert json.loads(text(world, made, "json"))["listed"]["rejected/PRICE_FORMAT"][0]["before"] == "=1+1|<img src=x>"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("item_sku", "no"), ("item_name", "expression: UPPER(descr)"), ("brand_name", "(brand_name, made by mod:hook)"),
    ],
)  # fmt: skip
def test_a_column_is_named_as_the_source_names_it(world: World, target: str, told: str) -> None:
    """A column, an expression, and what only a transform can have made."""
    source = {
        "name": "erp", "kind": "file", "path": "x.csv", "format": "csv", "transform": "mod:hook",
        "mapping": {"item_sku": "no", "store_id": "s", "item_name": {"expression": "UPPER(descr)"}},
    }  # fmt: skip
    config = Settings.model_validate({**world.settings.model_dump(), "sources": [source], "mapping": {}})
    assert column_of(config, "erp", target) == told
