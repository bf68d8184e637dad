"""``python -m catalog_sync check``: what it says of a file, to people and to machines, and its exit codes."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from catalog_sync import settings
from catalog_sync.advice import ADVICE
from catalog_sync.check import CheckResult, check_file
from catalog_sync.cli import INCOMPLETE, OK, WRONG, main
from catalog_sync.contract.codes import Code
from catalog_sync.errors import BadInput, Misconfigured

HEADER = "item_no,gtin,descr,retail,store_no\n"
GOOD = "A-1,036000291452,Oats,1.50,S1\n"
MAPPING = {
    "item_sku": "item_no", "external_product_id": "gtin", "item_name": "descr", "standard_price": "retail",
    "store_id": "store_no",
}  # fmt: skip
ERP = {"name": "erp", "kind": "sql", "conn_id": "erp", "query": "SELECT 1", "mapping": MAPPING}
MERCH = {
    "name": "merch", "kind": "file", "path": "nowhere/*.csv", "format": "csv",
    "mapping": {"item_sku": "sku", "store_id": "store", "standard_price": "price"},
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with a database as ERP, and a file of prices only."""
    return write_config(tmp_path, [ERP, MERCH])


def write_config(folder: Path, sources: list[dict[str, Any]]) -> Path:
    """Write a configuration with these sources."""
    file = folder / "catalog.yaml"
    raw = {
        "retailer": "acme",
        "stores": {"ids": ["S1", "S2"]},
        "lake": "lake",
        "results": {"queue": "q", "topic_arn": "t"},
        "sources": sources,
        "merge": {"precedence": [source["name"] for source in sources]},
    }
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def checked(config: Path, text: str, source: str | None = "erp", name: str = "items.csv") -> CheckResult:
    """Write the text beside the configuration and check it."""
    file = config.parent / name
    file.write_text(text, encoding="utf-8")
    return check_file(file, settings.load(config), source)


def rendered(made: CheckResult) -> str:
    """The text for people."""
    text = io.StringIO()
    made.render(Console(file=text, width=220))
    return text.getvalue()


def test_a_good_file_is_ok(config: Path) -> None:
    """Nothing is found; every row is accepted."""
    made = checked(config, HEADER + GOOD)
    assert (made.ok, made.read, made.accepted, made.findings) == (True, 1, 1, ())


def test_each_broken_rule_is_told_with_row_field_value_and_advice(config: Path) -> None:
    """A wrong check digit and an unknown store, in the rows where they stand."""
    made = checked(config, HEADER + GOOD + "A-2,036000291453,Rye,2.50,S1\nA-3,4011,Plum,0.50,S9\n")
    assert (made.ok, made.read, made.accepted, made.rejected) == (False, 3, 1, 2)
    found = {finding.code: finding for finding in made.findings}
    assert set(found) == {"BARCODE_CHECK_DIGIT", "STORE_UNKNOWN"}
    sample = found["BARCODE_CHECK_DIGIT"].samples[0]
    assert (sample.row, sample.field, sample.value) == (2, "external_product_id", "036000291453")
    assert (sample.store_id, sample.item_sku, sample.file) == ("S1", "A-2", "items.csv")
    assert found["STORE_UNKNOWN"].advice == ADVICE[Code.STORE_UNKNOWN]
    assert found["STORE_UNKNOWN"].samples[0].row == 3


def test_repairs_and_warnings_are_told_and_reject_nothing(config: Path) -> None:
    """A repair shows before and after; an in-store number is warned of."""
    made = checked(config, HEADER + "A-1,036000291452,  Crème ,1.5,S1\nA-2,2000000000015,Ham,1.00,S1\n")
    assert made.ok
    assert made.repaired == 1
    told = {(finding.code, finding.what): finding.samples[0] for finding in made.findings}
    assert (told["PRICE_FORMAT", "repaired"].value, told["PRICE_FORMAT", "repaired"].after) == ("1.5", "1.50")
    assert told["BARCODE_INTERNAL", "warned"].item_sku == "A-2"


def test_unreadable_rows_are_rejected_and_counted(config: Path) -> None:
    """Rows that the reader cannot take, and equal rows, are in the sum."""
    made = checked(config, HEADER + GOOD + GOOD + "A-2,1,2\nA-3,4011,Nul\0,1.00,S1\n")
    assert (made.read, made.accepted, made.collapsed, made.rejected) == (4, 1, 1, 2)
    assert made.findings[0].code == "ROW_UNREADABLE"
    assert [sample.row for sample in made.findings[0].samples] == [3, 4]


def test_samples_are_few_and_counts_whole(config: Path) -> None:
    """A thousand rows of one fault print five."""
    made = checked(config, HEADER + "".join(f"A-{n},4011,Plum,-1,S1\n" for n in range(1000)))
    assert [(f.code, f.rows, len(f.samples)) for f in made.findings] == [("PRICE_FORMAT", 1000, 5)]


def test_a_row_that_breaks_two_rules_counts_once(config: Path) -> None:
    """Both codes are told; one row is rejected."""
    made = checked(config, HEADER + "A 1,4011,Plum,-1,S1\n")
    assert (made.rejected, {f.code: f.rows for f in made.findings}) == (1, {"SKU_FORMAT": 1, "PRICE_FORMAT": 1})


def test_fields_of_another_source_are_not_missed(config: Path) -> None:
    """The file of prices has neither names nor barcodes, and its own faults are found all the same."""
    text = "sku,store,price\nA-1,S1,1.50\nA-2,S1,2.50\nA-3,S2,cheap\nA-4,S2,1.00\nA-4,S2,2.00\n"
    made = checked(config, text, source=None)
    assert made.source == "merch"
    assert made.elsewhere == ("external_product_id", "item_name")
    assert "\nRows without item_name were not judged for that" in rendered(made)
    assert {f.code: (f.what, f.rows) for f in made.findings} == {
        "PRICE_FORMAT": ("rejected", 1),
        "DUPLICATE_KEY": ("rejected", 2),
    }
    assert (made.read, made.accepted, made.rejected) == (5, 2, 3)


def test_a_barcode_that_another_source_may_give_is_judged_where_it_is_given(tmp_path: Path) -> None:
    """Rows without one pass; two SKUs with one barcode do not."""
    mapping = {**MERCH["mapping"], "external_product_id": "ean"}
    config = write_config(tmp_path, [ERP, {**MERCH, "mapping": mapping}])
    rows = "A-1,S1,1,\nA-2,S1,1,  \nA-3,S1,1,036000291452\nA-4,S1,1,036000291452\nA-5,S2,1,1\n"
    made = checked(config, "sku,store,price,ean\n" + rows, source=None)
    assert {f.code: f.rows for f in made.findings if f.what == "rejected"} == {"BARCODE_SHARED": 2, "BARCODE_LENGTH": 1}
    assert made.accepted == 2


def test_a_required_field_that_no_source_has_is_missed(tmp_path: Path) -> None:
    """With only the file of prices there is nobody to give a name."""
    made = checked(write_config(tmp_path, [MERCH]), "sku,store,price\nA-1,S1,1.50\n", source=None)
    assert (made.rejected, made.elsewhere) == (1, ())
    assert [f.code for f in made.findings] == ["REQUIRED"]


def test_the_format_is_that_of_the_name(config: Path) -> None:
    """Tabs, JSON Lines and gzip are read by the ending, whatever the source reads every night."""
    assert checked(config, (HEADER + GOOD).replace(",", "\t"), name="items.tsv").accepted == 1
    row = dict(zip(HEADER.strip().split(","), GOOD.strip().split(","), strict=True))
    assert checked(config, json.dumps(row) + "\n", name="items.jsonl").accepted == 1
    file = config.parent / "items.csv.gz"
    file.write_bytes(gzip.compress((HEADER + GOOD).encode()))
    assert check_file(file, settings.load(config), "erp").accepted == 1


def test_a_format_that_cannot_be_told_is_an_error(config: Path) -> None:
    """A database source has no format to fall back to; the message names the endings."""
    with pytest.raises(Misconfigured, match=r"items\.txt: the format cannot be told .*\.csv, \.tsv"):
        checked(config, HEADER, name="items.txt")


def test_which_source_must_be_said_when_it_cannot_be_told(tmp_path: Path) -> None:
    """Two file sources, or none: the message names the sources."""
    config = write_config(tmp_path, [ERP])
    with pytest.raises(Misconfigured, match=r"with --source; sources: erp"):
        checked(config, HEADER, source=None)
    with pytest.raises(Misconfigured, match="there is no source 'pos'; sources: erp"):
        checked(config, HEADER, source="pos")


def test_a_file_that_does_not_fit_the_mapping_is_an_error(config: Path) -> None:
    """The message names the column that is missing."""
    with pytest.raises(BadInput, match="there is no column 'gtin'"):
        checked(config, "item_no,ean\nA-1,4011\n")


def test_the_text_for_people_has_everything(config: Path) -> None:
    """Codes, advice, the value and the row stand in it; values are never taken for markup."""
    made = checked(config, HEADER + "A-2,[red]4011[/red],[bold]Rye,2.50,S1\n")
    text = rendered(made)
    for part in (
        "BARCODE_FORMAT",
        ADVICE[Code.BARCODE_FORMAT],
        "row 1, S1 A-2: external_product_id = '[red]4011[/red]': must",
        "1 rows read",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "code"),
    [(HEADER + GOOD, OK), (HEADER, OK), (HEADER + GOOD.replace("S1", "S9"), INCOMPLETE), ("", WRONG), ("a\n", WRONG)],
)
def test_the_exit_code_says_how_it_went(config: Path, capsys: pytest.CaptureFixture[str], text: str, code: int) -> None:
    """0: all good; 1: rows would be rejected; 2: the file cannot be used."""
    file = config.parent / "items.csv"
    file.write_text(text, encoding="utf-8")
    assert main(["--config", str(config), "check", str(file), "--source", "erp", "--json"]) == code
    out = capsys.readouterr().out
    assert json.loads(out)["ok"] is (code == OK) if out else code == WRONG


def test_a_file_that_is_not_there_is_an_error(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, and the message names the file."""
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["--config", str(config), "check", "nowhere.csv", "--source", "erp"]) == WRONG
    assert "nowhere.csv: there is no such file" in capsys.readouterr().err


def test_every_code_has_advice() -> None:
    """A new rule cannot be forgotten."""
    assert set(ADVICE) == set(Code)
