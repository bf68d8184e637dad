"""The tables: which version stood at a time, and how a few SKUs are found among many."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from obstore.store import LocalStore

from catalog_sync.lake import Lake
from catalog_sync.tables import HELD, Tables

#: Seconds at which versions 0 to 4 are said to have been committed; two of them in one second.
COMMITTED = (100.0, 200.0, 300.0, 300.5, 400.0)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """A lake whose table ``held`` has five versions, with the times of ``COMMITTED`` in its log."""
    lake = Lake(LocalStore(tmp_path), str(tmp_path))
    made = Tables(lake)
    for number in range(4):  # the first of them makes the table, too
        row = dict.fromkeys(HELD, "x") | {"store_id": "SEA-001", "item_sku": f"SKU-{number}", "first_held_at": None}
        made.replace("held", ["SEA-001"], lambda before, row=row: pl.DataFrame([row], schema=HELD))
    assert made.version("held") == 4
    for version, at in enumerate(COMMITTED):
        log = tmp_path / "tables" / "held" / "_delta_log" / f"{version:020d}.json"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert sum("commitInfo" in line for line in lines) == 1
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["timestamp"] = int(at * 1000)
        log.write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in lines))
    return Tables(lake)


@pytest.mark.parametrize(
    ("at", "version"),
    [(99.9, None), (100.0, 0), (199.9, 0), (200.0, 1), (300.0, 2), (300.4, 2), (300.5, 3), (399.0, 3), (9e9, 4)],
)
def test_the_version_of_a_time(tables: Tables, at: float, version: int | None) -> None:
    """The last one that was committed by then."""
    assert tables.version_at("held", at) == version
    assert tables.version_at("absent", at) is None


def test_the_oldest_commits_may_be_gone(tables: Tables, tmp_path: Path) -> None:
    """Once a checkpoint has taken their place: what is left of the log is enough."""
    from deltalake import DeltaTable

    DeltaTable(tables.uri("held")).create_checkpoint()
    for version in (0, 1):
        (tmp_path / "tables" / "held" / "_delta_log" / f"{version:020d}.json").unlink()
    assert [tables.version_at("held", at) for at in (300.0, 350.0, 500.0)] == [2, 3, 4]


def test_a_sku_is_looked_up_in_one_group_of_rows_of_each_file(tmp_path: Path) -> None:
    """The files say between which SKUs each group lies; groups that lie apart need not be read."""
    from pyarrow import parquet

    tables = Tables(Lake(LocalStore(tmp_path), str(tmp_path)))
    skus = [f"SKU-{number:06d}" for number in range(50_000)]
    rows = pl.DataFrame({"store_id": "SEA-001", "item_sku": skus}).select(
        pl.col(name) if name in ("store_id", "item_sku") else pl.lit(None, kind).alias(name)
        for name, kind in HELD.items()
    )
    tables.replace("held", ["SEA-001"], lambda before: rows)
    (file,) = (tmp_path / "tables" / "held").rglob("*.parquet")
    groups = [parquet.read_metadata(file).row_group(n) for n in range(3)]
    skus_of = [next(c for c in group.to_dict()["columns"] if c["path_in_schema"] == "item_sku") for group in groups]
    ends = [(column["statistics"]["min"], column["statistics"]["max"]) for column in skus_of]
    assert ends == [(skus[0], skus[19_999]), (skus[20_000], skus[39_999]), (skus[40_000], skus[-1])]
    for asked in (["SKU-030000"], ["SKU-030000", "SKU-000001"], ["no such"], []):
        found = tables.read("held", ["SEA-001"], skus=pl.Series(asked, dtype=pl.String))["item_sku"]
        assert sorted(found) == sorted(set(asked) & set(skus))
