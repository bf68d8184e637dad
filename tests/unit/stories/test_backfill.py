"""A backfill: which rows are meant, and what it does with them (design sections 8 and 12)."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.unit.stories.world import HEADER, Row, World, counts, row

from catalog_sync.errors import BadInput, CatalogSyncError, Misconfigured
from catalog_sync.lake import Lake
from catalog_sync.plan_summary import as_markdown
from catalog_sync.run import Kind, Options
from catalog_sync.tables import Tables

ROWS = [row(n, store=store) for store in ("SEA-001", "PDX-001") for n in range(6)]


def backfill(world: World, name: str, **options: Any) -> dict[str, Any]:
    """Do a whole backfill and return its books."""
    return world.job(name, Kind.BACKFILL, **options).whole()


@pytest.fixture
def loaded(world: World) -> World:
    """A world whose rows Amazon has, and whose even SKUs are dairy."""
    world.changes["mapping"] = {**world.settings.mapping, "product_category": "dept"}
    world.changes["base"] = world.source.parent
    write(world, ROWS)
    assert world.night("first")["state"] == "complete"
    return world


def write(world: World, rows: list[Row]) -> None:
    """Write the source with a department for each row, untidily written."""
    with world.source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*HEADER, "dept"])
        writer.writeheader()
        even = {one["item_no"]: int(one["item_no"][4:]) % 2 == 0 for one in rows}
        writer.writerows({**one, "dept": " Dairy" if even[one["item_no"]] else "Pet  Food"} for one in rows)


def test_a_store_is_sent_again_as_it_is(loaded: World) -> None:
    """With ``resend`` every row of the store goes, and no other."""
    books = backfill(loaded, "b", stores=("SEA-001",), resend=True)
    assert counts(books) == {"read": 12, "out_of_scope": 6, "planned": 6, "sent": 6, "acknowledged": 6}
    assert set(loaded.wire.uploads[-1]) == {("SEA-001", f"SKU-{n}") for n in range(6)}


def test_a_dry_run_shows_and_sends_nothing(loaded: World) -> None:
    """It takes no plan number either, so that nobody has to wait for it."""
    job = loaded.job("b", Kind.BACKFILL, stores=("SEA-001",), resend=True, dry_run=True)
    books = job.whole()
    assert counts(books) == {"read": 12, "out_of_scope": 6, "planned": 6, "unsent": 6}
    assert (books["state"], books["plan"]["plan_number"], len(loaded.wire.uploads)) == ("complete", 0, 1)
    shown = as_markdown(job.open().plan)
    assert "Asked for: store SEA-001." in shown
    assert "**6 rows to send**" in shown


@pytest.mark.parametrize("names", [("dairy",), ("DAIRY ",), ("Dairy", "Pet food")])
def test_departments_choose_rows(loaded: World, names: tuple[str, ...]) -> None:
    """However they are written, in the source and in the form."""
    books = backfill(loaded, "b", departments=names, stores=("PDX-001",), resend=True)
    planned = 3 * len(names)
    assert (books["total"]["planned"], books["total"]["out_of_scope"]) == (planned, 12 - planned)
    assert books["missing"] == []


def test_a_misspelt_department_and_a_sku_that_is_nowhere_are_told(loaded: World) -> None:
    """Nothing is sent for them, and the plan and the note name what may have been meant."""
    job = loaded.job("b", Kind.BACKFILL, departments=("Diary",), skus=("SKU-0", "SKU-77"), resend=True)
    books = job.whole()
    assert books["missing"] == [
        "2 of 2 SKUs have no row in these departments: SKU-0, SKU-77",
        "no row has the department 'Diary'; there are Dairy",
    ]
    assert counts(books) == {"read": 12, "out_of_scope": 12}
    assert "**Not found:** no row has the department 'Diary'" in as_markdown(job.open().plan)


def test_departments_need_a_mapping(world: World) -> None:
    """Where no source says the department of a row, none can be chosen."""
    world.write(ROWS)
    with pytest.raises(BadInput, match="departments: no source is mapped to product_category"):
        backfill(world, "b", departments=("Dairy",))


def test_a_rejected_row_is_the_departments_too(loaded: World) -> None:
    """It is counted where it belongs, and as out of scope otherwise."""
    write(loaded, [{**one, "gtin": "12345"} if one["item_no"] in ("SKU-0", "SKU-1") else one for one in ROWS])
    books = backfill(loaded, "b", departments=("Dairy",))
    assert counts(books) == {"read": 12, "out_of_scope": 6, "rejected": 2, "unchanged": 4}


def test_changed_since_sends_what_was_acknowledged_since_and_what_differs(loaded: World) -> None:
    """Amazon was set back to noon: what it took since then goes again, and what differs anyway; the rest does not."""
    loaded.wait(1)
    noon = datetime.fromtimestamp(loaded.clock.time(), UTC).isoformat()
    loaded.wait(1)
    write(loaded, [{**one, "descr": "B"} if one["item_no"] == "SKU-1" else one for one in ROWS])
    loaded.night("afternoon")
    loaded.wait(1)
    write(loaded, [{**one, "descr": "B"} if one["item_no"] in ("SKU-1", "SKU-2") else one for one in ROWS])
    books = backfill(loaded, "b", changed_since=noon, resend=True)
    assert counts(books) == {"read": 12, "out_of_scope": 8, "planned": 4, "sent": 4, "acknowledged": 4}
    assert {sku for _, sku in loaded.wire.uploads[-1]} == {"SKU-1", "SKU-2"}


@pytest.mark.parametrize(
    ("text", "resend", "why"),
    [
        ("yesterday", True, "is no time"),
        ("2099-01-01T00:00", True, "lies in the future"),
        ("2020-01-01T00:00", False, "only sent with 'resend'"),
    ],
)
def test_a_time_that_chooses_nothing_is_refused(loaded: World, text: str, resend: bool, why: str) -> None:
    """Before anything is read."""
    with pytest.raises(BadInput, match=why):
        backfill(loaded, "b", changed_since=text, resend=resend)


@pytest.mark.parametrize(
    ("text", "zone"),
    [("0001-01-01", "Asia/Tokyo"), ("9999-12-31T23:59", "America/Los_Angeles"), ("0001-01-01T00:00+14:00", "UTC")],
)
def test_a_time_beyond_the_calendar_is_refused(loaded: World, text: str, zone: str) -> None:
    """It can be written in the retailer's zone, and not in UTC."""
    loaded.changes["schedule"] = {"timezone": zone}
    with pytest.raises(BadInput, match="is no time"):
        backfill(loaded, "b", changed_since=text, resend=True)


def test_a_time_without_an_offset_is_the_retailers(loaded: World) -> None:
    """Whoever fills in the form looks at the clock on the wall."""
    loaded.changes["schedule"] = {"timezone": "Asia/Tokyo"}
    local = datetime.fromtimestamp(loaded.clock.time() + 9 * 3600 + 60, UTC).replace(tzinfo=None).isoformat()
    with pytest.raises(BadInput, match="lies in the future"):
        backfill(loaded, "b", changed_since=local, resend=True)


def listed(world: World, name: str, text: str | bytes) -> str:
    """Put a file beside the configuration, and return its path as a form names it."""
    path = world.source.with_name(name)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def parquet(path: Path) -> str:
    """A Parquet file of SKUs."""
    pl.DataFrame({"SKU": ["SKU-1", "SKU-2"]}).write_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "item_sku,why\r\nSKU-1,lost\r\nSKU-2,lost\r\n"),
        ("list.csv", "why,Item_No\nlost,SKU-1\nlost, SKU-2 \nagain,SKU-1\n"),
        ("list.csv", "anything\nSKU-1\n\nSKU-2\n"),
        ("list.txt", "SKU-1\nSKU-2"),
        ("list.txt", "\ufeffSKU\nSKU-1\nSKU-2\n"),
        ("list.tsv.gz", gzip.compress(b"a\tsku\nx\tSKU-1\nx\tSKU-2\n", mtime=0)),
        ("list.jsonl", '{"sku": "SKU-1"}\n{"sku": "SKU-2"}\n'),
    ],
)
def test_a_file_of_skus_chooses_rows(loaded: World, name: str, text: str | bytes) -> None:
    """In any format of a source; the column tells by its name, or by being the only one."""
    books = backfill(loaded, "b", skus_file=listed(loaded, name, text), resend=True)
    assert {sku for _, sku in loaded.wire.uploads[-1]} == {"SKU-1", "SKU-2"}
    assert counts(books) == {"read": 12, "out_of_scope": 8, "planned": 4, "sent": 4, "acknowledged": 4}


def test_a_file_in_the_lake_and_typed_skus_add_up(loaded: World) -> None:
    """``lake:`` begins a path in the lake, whatever kind of place that is."""
    parquet(loaded.lake / "list.parquet")
    backfill(loaded, "b", skus_file="lake:list.parquet", skus=("SKU-3",), resend=True)
    assert {sku for _, sku in loaded.wire.uploads[-1]} == {"SKU-1", "SKU-2", "SKU-3"}


def test_a_file_of_skus_is_read_once(loaded: World) -> None:
    """A task cleared after the file was changed is about the same SKUs."""
    path = listed(loaded, "list.txt", "SKU-1")
    job = loaded.job("b", Kind.BACKFILL, skus_file=path, resend=True)
    job.extract()
    listed(loaded, "list.txt", "SKU-2\nSKU-3")
    assert job.whole()["total"]["planned"] == 2


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("list.csv", "", "is empty"),
        ("list.csv", "item_sku\n", "has no SKU"),
        ("list.csv", "item_sku\n\n \n", "has no SKU"),
        ("list.csv", "a,b\n1,2\n", r"none of its columns \(a, b\) is called item_sku or item_no or sku"),
        ("list.csv", "item_sku\nA\0B\n", "1 rows cannot be read, row 1 first: holds a NUL"),
        ("list.csv", b"item_sku\n\xff\xfe\n", "1 rows cannot be read"),
        ("list.csv", "item_sku\n1.00E+12\n", "is no SKU"),
        ("list.txt", "root:x:0:0:root:/root:/bin/sh\n", "is no SKU"),
        ("list.csv", "item_sku\n" + "9" * 300 + "\n", "is no SKU"),
        ("list.xlsx", b"PK\x03\x04 no workbook", "cannot be read as XLSX"),
        ("list.parquet", b"PAR1", "cannot be read as Parquet"),
        ("list.csv.gz", b"\x1f\x8b\x08\x00 cut", "gzip data is cut off or damaged"),
        ("list.pdf", b"%PDF", "must end in .csv, .txt"),
        ("list", "SKU-1", "must end in .csv, .txt"),
    ],
)
def test_a_file_that_is_no_list_of_skus_is_refused(loaded: World, name: str, text: str | bytes, why: str) -> None:
    """The error names the form's field and the file, and nothing was read or sent."""
    with pytest.raises(BadInput, match=why):
        backfill(loaded, "b", skus_file=listed(loaded, name, text), resend=True)
    assert len(loaded.wire.uploads) == 1


@pytest.mark.parametrize("path", ["/etc/passwd.csv", "lake:../../etc/passwd.csv", "http://10.0.0.1/x.csv"])
def test_a_form_reads_no_file_of_the_worker(loaded: World, path: str) -> None:
    """Whoever may start a backfill may not therefore read the worker's disk, or its network."""
    with pytest.raises(Misconfigured, match="must be s3://"):
        backfill(loaded, "b", skus_file=path, resend=True)


def test_a_form_names_one_file(loaded: World) -> None:
    """A pattern might take in more than whoever typed it sees."""
    with pytest.raises(Misconfigured, match="must be one file"):
        backfill(loaded, "b", skus_file="lake:*.csv")


def test_a_command_may_read_any_file(loaded: World) -> None:
    """Whoever types it reads with rights of their own."""
    path = listed(loaded, "mine.csv", "sku\nSKU-5\n")
    assert loaded.job("c", Kind.COMMAND, skus_file=path, resend=True).whole()["total"]["sent"] == 2


def test_what_guards_hold_of_other_rows_stays_remembered(loaded: World) -> None:
    """A backfill of one department says nothing of what another has held, nor when that began."""
    loaded.changes["guards"] = {
        scope: {"changed": {"percent": 20, "min_rows": 1}, "prices": {"percent": 99}} for scope in ("store", "total")
    }
    write(loaded, [{**one, "descr": "B"} for one in ROWS])
    held = loaded.night("wrong")["held"]
    assert held["rows"] == 12
    loaded.wait(24)
    again = backfill(loaded, "b", departments=("Dairy",))["held"]
    assert (again["rows"], again["since"]) == (6, held["since"])
    from obstore.store import LocalStore

    table = Tables(Lake(LocalStore(loaded.lake), str(loaded.lake))).read("held", ["SEA-001", "PDX-001"])
    assert (len(table), table["first_held_at"].n_unique()) == (12, 1)


def test_a_part_of_a_store_makes_no_store_known(world: World) -> None:
    """A backfill of some rows is no first load, so that the first night is not held."""
    world.changes["mapping"] = {**world.settings.mapping, "product_category": "dept"}
    write(world, ROWS)
    assert backfill(world, "b", departments=("Dairy",))["total"]["acknowledged"] == 6
    world.changes["guards"] = {scope: {"new": {"percent": 1, "min_rows": 1}} for scope in ("store", "total")}
    assert counts(world.night("first")) == {"read": 12, "unchanged": 6, "planned": 6, "sent": 6, "acknowledged": 6}


def test_after_an_outage_one_plan_has_all_that_differs_now(loaded: World) -> None:
    """Three nights were missed: each row that differs goes once, with its value of today, however often it changed."""
    missed = {"SKU-0": "B", "SKU-1": "C", "SKU-2": "D"}
    versions = dict.fromkeys((one["item_no"] for one in ROWS), "A")
    for sku, name in missed.items():
        loaded.wait(24)
        versions |= {sku: name, "SKU-0": name}
        write(loaded, [{**one, "descr": versions[one["item_no"]]} for one in ROWS])
    loaded.wait(24)
    # One row went back to what Amazon has, one is new, one has left.
    versions["SKU-1"] = "A"
    today = [{**one, "descr": versions[one["item_no"]]} for one in ROWS if one["item_no"] != "SKU-5"] + [row(9, "N")]
    write(loaded, today)
    books = backfill(loaded, "b", reason="outage since Monday")
    assert counts(books) == {"read": 11, "unchanged": 6, "planned": 5, "sent": 5, "acknowledged": 5}
    [upload] = loaded.wire.uploads[1:]
    assert sorted(upload.items()) == [
        (("PDX-001", "SKU-0"), "D"), (("PDX-001", "SKU-2"), "D"),
        (("SEA-001", "SKU-0"), "D"), (("SEA-001", "SKU-2"), "D"), (("SEA-001", "SKU-9"), "N"),
    ]  # fmt: skip
    assert counts(loaded.night("next")) == {"read": 11, "unchanged": 11}


def test_options_of_an_earlier_version_are_read() -> None:
    """A run that was begun before an upgrade goes on after it."""
    raw = {
        "kind": "backfill",
        "stores": ["S"],
        "skus": [],
        "resend": True,
        "dry_run": False,
        "reason": "",
        "follow_up": 0,
    }
    assert Options.of(raw) == Options(Kind.BACKFILL, ("S",), resend=True)


def test_every_error_is_one_of_ours(loaded: World) -> None:
    """A path that is none ends the run with words, not with a traceback."""
    for path in ("~/x.csv", "\0.csv", "s3:.csv", "file:///nowhere.csv", "." * 300 + ".csv"):
        with pytest.raises(CatalogSyncError):
            backfill(loaded, f"b{len(path)}", skus_file=path, resend=True)
