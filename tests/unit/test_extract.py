"""Extracting a source into the lake: nothing lost, nothing half-read, the same answer each time."""

from __future__ import annotations

import csv
import itertools
import sys
import types
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from catalog_sync import extract as module
from catalog_sync.contract.frames import REJECTS
from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.extract import extract
from catalog_sync.fields import TARGETS
from catalog_sync.lake import Lake
from catalog_sync.ledger import LedgerTable
from catalog_sync.run import Options, Run
from catalog_sync.settings import Settings
from catalog_sync.sources.base import Source, Unreadable

MAPPING = {"item_sku": "no", "store_id": "store", "item_name": "name", "external_product_id": "gtin"}


class World:
    """A run with one source, a file beside the configuration."""

    def __init__(self, dynamodb: Any, clock: Any, folder: Any) -> None:
        self.file = folder / "items.csv"
        self._parts = (dynamodb, clock, folder)
        self.lake = Lake.in_memory()
        self._tokens = (f"t{n}" for n in itertools.count(1))

    def run(self, **source: Any) -> Run:
        """The run, with the source's settings changed."""
        dynamodb, clock, folder = self._parts
        described = {"name": "erp", "kind": "file", "path": "items.csv", "format": "csv", **source}
        settings = Settings.model_validate(
            {
                "retailer": "acme", "stores": {"ids": ["A", "B"]}, "lake": "x", "mapping": MAPPING, "base": folder,
                "results": {"queue": "q", "topic_arn": "t"},
                "sources": [{key: value for key, value in described.items() if value is not None}],
            }
        )  # fmt: skip
        none: Any = None
        ledger = LedgerTable(dynamodb, "Ledger")
        return Run(settings, none, "r1", Options(), clock, self.lake, ledger, none, lambda: next(self._tokens))

    def write(self, *rows: list[str]) -> None:
        """Write the file."""
        with self.file.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["no", "store", "name", "gtin"], *rows])

    def manifest(self) -> dict[str, Any]:
        """What the extract left."""
        return dict(self.lake.get_json("runs/r1/extract/erp.json"))

    def rows(self) -> pl.DataFrame:
        """Every row that was written, and that its part says what it holds."""
        frames = []
        for part in self.manifest()["files"]:
            frame = self.lake.get_frame(part["key"])
            assert len(frame) == part["rows"]
            frames.append(frame.with_columns(part=pl.lit(part["store"])))
        return pl.concat(frames) if frames else pl.DataFrame()


@pytest.fixture
def world(dynamodb, clock, tmp_path) -> World:
    """A deployment with an in-memory lake."""
    return World(dynamodb, clock, tmp_path)


def test_rows_go_by_store(world, clock) -> None:
    """Blanks around a store's id do not part its rows; what is no configured store goes together; text is untouched."""
    world.write(
        ["1", "A", "n" * 300, "0012"], ["2", "B", "=HYPERLINK(1)", "4011.0"], ["3", " A ", "x", "1.23E+11"],
        ["4", "", "x", ""], ["5", "nowhere", "x", ""],
    )  # fmt: skip
    assert extract(world.run(), "erp") == {"source": "erp", "read": 5, "rows": 5, "unreadable": 0}
    rows = world.rows().sort("source_row")
    assert rows.columns == [*TARGETS, "source", "source_row", "part"]
    assert rows["part"].to_list() == ["A", "B", "A", "", ""]
    assert rows["store_id"].to_list() == ["A", "B", " A ", None, "nowhere"]
    assert rows["external_product_id"].to_list() == ["0012", "4011.0", "1.23E+11", None, None]
    assert rows["item_name"].to_list() == ["n" * 300, "=HYPERLINK(1)", "x", "x", "x"]
    assert set(rows["source"]) == {"erp:items.csv"}
    manifest = world.manifest()
    assert manifest["unreadable_key"] is None
    assert manifest["read_at"] == clock.now
    assert manifest["modified_at"] == world.file.stat().st_mtime
    assert sorted(part["store"] for part in manifest["files"]) == ["", "A", "B"]


def test_unreadable_rows_are_kept_with_their_reasons(world) -> None:
    """They come on top of the rows that were read."""
    world.file.write_bytes(b"no,store,name,gtin\n1,A,x,1\n2,A,x\n3,A,caf\xe9,3\n4,A,x,4\n")
    assert extract(world.run(), "erp") == {"source": "erp", "read": 2, "rows": 2, "unreadable": 2}
    rejects = world.lake.get_frame(world.manifest()["unreadable_key"])
    assert rejects.schema == REJECTS
    assert rejects.select("row_id", "code", "source", "source_row", "message").rows() == [
        (0, "ROW_UNREADABLE", "erp:items.csv", 2, "has 3 fields, the header has 4"),
        (1, "ROW_UNREADABLE", "erp:items.csv", 3, "holds bytes that are not utf-8"),
    ]
    assert rejects["value"].to_list() == ["2,A,x", "3|A|caf\N{REPLACEMENT CHARACTER}|3"]


def test_a_header_alone_is_a_source_without_rows(world) -> None:
    """Whether that is right is for the guards to say."""
    world.write()
    assert extract(world.run(), "erp")["rows"] == 0
    assert world.manifest()["files"] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no such file"),
        (b"", "is empty: not even a header"),
        (
            b"no,store,name\n1,A,x\n",
            r"mapping.external_product_id = 'gtin': there is no column 'gtin'; columns: no, store",
        ),
        (b"no,store,name\n", "there is no column 'gtin'"),
        (b"no,store,name,gtin\n" + b"1,A,x,1\n" * 60_000 + b"2,A", "the file is cut off"),
    ],
)
def test_nothing_of_a_source_that_fails_is_used(world, data, message) -> None:
    """No manifest is left, so that a later try reads it whole."""
    if data is not None:
        world.file.write_bytes(data)
    with pytest.raises(BadInput, match=message):
        extract(world.run(), "erp")
    assert not world.lake.exists("runs/r1/extract/erp.json")
    world.write(["1", "A", "x", "1"])
    assert extract(world.run(), "erp")["rows"] == 1
    assert len(world.rows()) == 1


def test_a_second_try_has_the_first_ones_answer(world) -> None:
    """Whatever the source says by then."""
    world.write(["1", "A", "x", "1"])
    first = extract(world.run(), "erp")
    world.write(["1", "A", "x", "1"], ["2", "A", "x", "2"])
    assert extract(world.run(), "erp") == first
    world.file.unlink()
    assert extract(world.run(), "erp") == first


def test_many_rows_are_written_in_parts(world, monkeypatch) -> None:
    """Memory is bounded: a store has a part for each flush, and every row is in one."""
    monkeypatch.setattr(module, "FLUSH_ROWS", 50_000)
    world.write(*([str(n), "AB"[n % 2], "x", ""] for n in range(120_000)))
    assert extract(world.run(), "erp")["rows"] == 120_000
    assert len(world.manifest()["files"]) == 6
    assert world.rows()["source_row"].sort().to_list() == list(range(1, 120_001))


def test_a_hook_transforms_rows(world, monkeypatch) -> None:
    """What was read before it and what is there after it are both counted; it sees no empty frames."""
    hooks: Any = types.ModuleType("my_hooks")
    hooks.clean = lambda frame: frame[frame["item_sku"] != "2"].assign(brand_name=frame["item_name"].iloc[0])
    monkeypatch.setitem(sys.modules, "my_hooks", hooks)
    world.write(["1", "A", "x", "1"], ["2", "A", "y", "2"])
    assert extract(world.run(transform="my_hooks:clean"), "erp") == {
        "source": "erp",
        "read": 2,
        "rows": 1,
        "unreadable": 0,
    }
    assert world.rows().select("item_sku", "brand_name", "source_row").rows() == [("1", "x", 1)]
    world.lake = Lake.in_memory()
    world.write()
    assert extract(world.run(transform="my_hooks:clean"), "erp")["rows"] == 0


class OwnSource(Source):
    """A source of a user's: two batches without numbers, and an unreadable row."""

    def __init__(self, settings: Any, connections: Any) -> None:
        super().__init__()
        self._options = settings.options

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield two batches."""
        for store in self._options["stores"]:
            yield pa.RecordBatch.from_pydict({"no": ["1"], "store": [store], "name": ["x"], "gtin": [None]})
        self.unreadable.append(Unreadable(3, "", "is torn"))


def test_a_source_of_ones_own(world, monkeypatch) -> None:
    """A class that yields batches is a source; rows are numbered in the order in which they come."""
    own: Any = types.ModuleType("my_sources")
    own.Own, own.Other = OwnSource, dict
    monkeypatch.setitem(sys.modules, "my_sources", own)
    described: dict[str, Any] = {"kind": "python", "path": None, "format": None, "options": {"stores": ["A", "B"]}}
    assert extract(world.run(**described, reader="my_sources:Own"), "erp")["unreadable"] == 1
    assert world.rows().select("store_id", "source", "source_row").rows() == [("A", "erp", 1), ("B", "erp", 2)]
    world.lake = Lake.in_memory()
    for reader in ("my_sources:Other", "my_sources:Nothing", "no_such_module:Own"):
        with pytest.raises(Misconfigured, match=f"reader = '{reader}'"):
            extract(world.run(**described, reader=reader), "erp")
