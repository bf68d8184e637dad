"""The past of a table: which version stood at a time."""

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
