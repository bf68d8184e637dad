"""The sample catalog: always the same, large enough, and dirty in every way that the contract knows."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws
from tests.e2e import independent_books
from tests.e2e.independent_record import Lake, RawSource

from catalog_local.sample import REFUSED, STORES, check_digit, write_sample
from catalog_sync import settings
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.contract.codes import Code
from catalog_sync.run import Kind, Options, Run
from catalog_sync.stores import load_stores
from catalog_sync.sync import sync

#: What each code does in the sample; a code may do several things.
REPAIRS = {
    Code.NAME_TRIM, Code.NAME_ASCII, Code.NAME_LENGTH, Code.NUMERIC_CELL, Code.BARCODE_PADDED, Code.PRICE_FORMAT,
}  # fmt: skip
WARNINGS = {Code.BARCODE_INTERNAL}
#: Rules whose every violation is repaired, or only warned of, by default.
NEVER_REJECT = {Code.NAME_TRIM, Code.NAME_LENGTH, Code.BARCODE_INTERNAL}


def erp_rows(folder: Path, columns: str = "*") -> list[tuple[str, ...]]:
    """The rows of the ERP."""
    with closing(sqlite3.connect(folder / "erp.sqlite")) as database:
        return database.execute(f"SELECT {columns} FROM items").fetchall()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as ``make run`` has it."""
    made = tmp_path_factory.mktemp("sample")
    write_sample(made)
    return made


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the dry run leaves what it made."""
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="module")
def books(folder: Path, lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The books of a dry run of the sample configuration on the sample."""
    work = tmp_path_factory.mktemp("run")
    raw = yaml.safe_load(settings.DEFAULT_CONFIG.read_text(encoding="utf-8"))
    raw["stores"] = {"ids": list(STORES)}
    raw["lake"] = str(lake)
    for source in raw["sources"]:
        if source["kind"] == "file":
            source["path"] = str(folder / "merch_items.csv")
    file = work / "catalog.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    environ = {
        "AIRFLOW_CONN_ERP": json.dumps({"conn_type": "sqlite", "host": str(folder / "erp.sqlite")}),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"login": "testing", "password": "testing"}),
    }
    with mock_aws():
        options = Options(kind=Kind.COMMAND, dry_run=True)
        run = Run.open(settings.load(file), EnvironmentConnections(environ), "sample", options)
        run.aws.client("dynamodb").create_table(
            TableName=run.settings.ledger.table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        yield sync(run)


def test_the_same_seed_and_day_give_the_same_sample(folder: Path, tmp_path: Path) -> None:
    """Both sources are equal row by row, and another seed gives others."""
    write_sample(tmp_path)
    assert (tmp_path / "merch_items.csv").read_bytes() == (folder / "merch_items.csv").read_bytes()
    assert erp_rows(tmp_path) == erp_rows(folder)
    write_sample(tmp_path, seed=8)
    assert erp_rows(tmp_path) != erp_rows(folder)


def test_the_counts_returned_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    """What the launcher is told is what lies there."""
    assert write_sample(tmp_path) == {
        "erp": len(erp_rows(folder)),
        "merch": len((folder / "merch_items.csv").read_bytes().splitlines()) - 1,
    }


def test_the_stores_are_those_of_the_sample_configuration() -> None:
    """The configuration's list has exactly the five stores that the sample has rows of."""
    config = settings.load(settings.DEFAULT_CONFIG)
    assert load_stores(config, EnvironmentConnections({})) == tuple(sorted(STORES))


def test_every_code_of_the_contract_occurs(books: dict[str, Any]) -> None:
    """Each rule repairs, warns or rejects at least three rows, and each in every way that it has by default."""
    rare = {
        (what, code.value): books[what].get(code.value, 0)
        for what, codes in (("repaired", REPAIRS), ("warned", WARNINGS), ("rejected", set(Code) - NEVER_REJECT))
        for code in codes
        if books[what].get(code.value, 0) < 3
    }
    assert rare == {}


def test_it_fills_four_batches_in_five_stores(books: dict[str, Any]) -> None:
    """Far more than 30,000 rows are sent, in at least four batches; the books balance; nothing unexpected is lost."""
    assert books["state"] == "complete"
    assert books["plan"]["batches"] >= 4
    assert books["total"]["planned"] > 30_000
    assert min(books["stores"][store]["planned"] for store in STORES) > 5_000
    assert 50 < books["total"]["rejected"] < 300
    assert books["total"]["collapsed"] > 0
    assert books["total"]["merged_away"] > 3_000


def test_a_second_program_comes_to_the_same_books(books: dict[str, Any], folder: Path, lake: Path) -> None:
    """Counted anew from the files themselves: read, merged away, collapsed, rejected and planned, store by store."""
    sources = [
        RawSource("merch", folder / "merch_items.csv", "store", "sku"),
        RawSource("erp", folder / "erp.sqlite", "store_no", "item_no", "items"),
    ]
    mine, problems = independent_books.books(Lake(str(lake)), "runs/sample", "", sources)
    assert problems + independent_books.differences(mine, books["stores"]) == []


def test_what_amazon_refuses_is_sent(folder: Path) -> None:
    """The SKUs on the sandbox's list stand in the ERP; a few dozen."""
    assert 20 <= len(REFUSED) <= 60
    assert set(REFUSED) <= {sku for (sku,) in erp_rows(folder, "item_no")}


def test_merchandising_overrides_only_what_it_gives(folder: Path) -> None:
    """Its file has rows without a title and rows without a price, and rows that have both."""
    with (folder / "merch_items.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(bool(row["title"]), bool(row["price"])) for row in rows} >= {(True, True), (True, False), (False, True)}


def test_some_items_have_several_barcodes(folder: Path) -> None:
    """They stand in one text, with and without a type before them."""
    alternatives = [text for (text,) in erp_rows(folder, "alt_gtins") if text]
    assert len(alternatives) > 100
    assert any("|" in text and text.startswith("EAN:") for text in alternatives)
    assert any(part.isdigit() for text in alternatives for part in text.split("|"))


def test_the_next_day_changes_little(folder: Path, tmp_path: Path) -> None:
    """About 2 % of the prices change; some rows are new, some gone, some have another name."""
    write_sample(tmp_path, day=2)
    columns = "store_no, item_no, retail, descr"
    first, second = (
        {(store, sku): (price, name) for store, sku, price, name in erp_rows(one, columns)}
        for one in (folder, tmp_path)
    )
    both = first.keys() & second.keys()
    assert 0.01 < sum(first[key][0] != second[key][0] for key in both) / len(both) < 0.03
    assert sum(first[key][1] != second[key][1] for key in both) > 20
    assert len(second.keys() - first.keys()) > 20
    assert 20 < len(first.keys() - second.keys()) < len(first) // 50


def test_the_check_digit_is_that_of_known_barcodes() -> None:
    """A UPC, an EAN-13 and an EAN-8 as they stand on real products."""
    for known in ("036000291452", "4006381333931", "96385074"):
        assert check_digit(known[:-1]) == known[-1]
