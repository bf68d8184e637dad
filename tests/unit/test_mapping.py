"""Mapping columns to fields, and the hook that may transform rows."""

from __future__ import annotations

import sys
import types

import pandas as pd
import polars as pl
import pytest

from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.fields import TARGETS
from catalog_sync.mapping import Mapper, load_transform, transform_rows
from catalog_sync.settings import Expression
from catalog_sync.sources.base import FILE, ROW


def raw(**columns: list[str | None]) -> pl.DataFrame:
    """A batch of text columns."""
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return frame.with_row_index(ROW, 1).with_columns(pl.col(ROW).cast(pl.Int64))


def test_columns_and_expressions() -> None:
    """A target is a column as it is, or an expression's value as text; empty becomes null; blanks stay."""
    mapping = {
        "item_sku": "no",
        "item_name": Expression(expression="UPPER(brand) || ' ' || descr"),
        "standard_price": Expression(expression="CAST(cents AS DOUBLE) / 100"),
        "brand_name": "brand",
    }
    got = Mapper(mapping, "erp").map(
        raw(no=["01", " 2 ", ""], brand=["a", "b", ""], descr=["x", "y", "z"], cents=["950", "1", None])
    )
    assert got.columns == [*TARGETS, "source", "source_row"]
    assert got["item_sku"].to_list() == ["01", " 2 ", None]
    assert got["item_name"].to_list() == ["A x", "B y", " z"]
    assert got["standard_price"].to_list() == ["9.5", "0.01", None]
    assert got["brand_name"].to_list() == ["a", "b", None]
    assert got["store_id"].to_list() == [None] * 3
    assert got.select("source", "source_row").rows() == [("erp", 1), ("erp", 2), ("erp", 3)]
    assert all(kind == pl.String for kind in got.select(TARGETS).dtypes)


def test_the_file_is_part_of_the_provenance() -> None:
    """A row of a file names the file, too."""
    got = Mapper({"item_sku": "no"}, "erp").map(raw(no=["1", "2"]).with_columns(pl.Series(FILE, ["a.csv", ""])))
    assert got["source"].to_list() == ["erp:a.csv", "erp"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("sku", r"source 'erp': mapping.item_sku = 'sku': there is no column 'sku'; columns: no, name"),
        (
            Expression(expression="UPPER(sku)"),
            r"mapping.item_sku.expression = 'UPPER\(sku\)': there is no column 'sku'",
        ),
        (
            Expression(expression="CAST(name AS INT)"),
            r"mapping.item_sku.expression = 'CAST\(name AS INT\)': fails: .*no, name",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_bad_input(rule, message) -> None:
    """The message names the target, the rule and the columns, also when there are no rows."""
    for rows in ({"no": ["1"], "name": ["x"]}, {"no": [], "name": []}):
        if not rows["no"] and "CAST" in message:
            continue
        with pytest.raises(BadInput, match=message):
            Mapper({"item_name": "name", "item_sku": rule}, "erp").map(raw(**rows))


def test_a_mapping_that_is_no_mapping_is_misconfigured() -> None:
    """Before anything is read."""
    with pytest.raises(Misconfigured, match=r"mapping.item_sku.expression = 'SELECT \(': is no SQL expression"):
        Mapper({"item_sku": Expression(expression="SELECT (")}, "erp")
    with pytest.raises(Misconfigured, match="has no mapping"):
        Mapper({}, "erp")


def test_a_sparse_source_may_lack_a_column_in_a_batch() -> None:
    """But not in all of them."""
    mapper = Mapper({"item_sku": "no", "brand_name": "brand"}, "erp")
    assert mapper.map(raw(no=["1"]), sparse=True)["brand_name"].to_list() == [None]
    with pytest.raises(BadInput, match=r"brand_name = 'brand': there is no column 'brand'; columns: no"):
        mapper.finish()
    mapper.map(raw(brand=["b"]), sparse=True)
    mapper.finish()


def rows(count: int = 3) -> pl.DataFrame:
    """Mapped rows."""
    return Mapper({"item_sku": "no", "item_name": "name"}, "erp").map(
        raw(no=[str(n) for n in range(count)], name=["x"] * count)
    )


def test_a_hook_may_change_drop_and_add_rows() -> None:
    """What it makes is text; a row that it adds belongs to the source and has no number."""

    def hook(frame: pd.DataFrame) -> pd.DataFrame:
        assert list(frame.columns) == [*TARGETS, "source", "source_row"]
        frame = frame[frame["item_sku"] != "1"].assign(standard_price=[9.5, None], item_name=["", "ü"])
        return pd.concat([frame, pd.DataFrame([{"item_sku": 7, "brand_name": "b"}])], ignore_index=True)

    got = transform_rows(rows(), hook, "m:f", "erp")
    assert got.select("item_sku", "item_name", "standard_price", "brand_name", "source", "source_row").rows() == [
        ("0", None, "9.5", None, "erp", 1),
        ("2", "ü", None, None, "erp", 3),
        ("7", None, None, "b", "erp", None),
    ]
    assert got.schema == rows().schema


@pytest.mark.parametrize("hook", [lambda f: f, lambda f: f.head(0), lambda f: f.drop(columns=["source", "source_row"])])
def test_a_hook_may_leave_things_alone(hook) -> None:
    """The schema is always the same."""
    assert transform_rows(rows(), hook, "m:f", "erp").schema == rows().schema


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (lambda f: f.assign(colour="red"), "unknown: colour"),
        (lambda f: f.drop(columns="brand_name"), "missing: brand_name"),
        (lambda f: pd.concat([f, f[["item_sku"]]], axis=1), "returned other columns than it got"),
        (lambda f: None, "transform = 'm:f' returned NoneType, not a pandas DataFrame"),
        (lambda f: f["nothing"], "transform = 'm:f' raised KeyError: 'nothing'"),
        (lambda f: f.assign(source_row="a"), "returned a source_row that is no number"),
        (lambda f: f.assign(item_name=["\ud800", "b", 1]), "returned text that cannot be written as UTF-8"),
    ],
)
def test_a_hook_that_breaks_the_rules_is_bad_input(hook, message) -> None:
    """The message names the hook and what is wrong."""
    with pytest.raises(BadInput, match=message):
        transform_rows(rows(), hook, "m:f", "erp")


def test_hooks_are_found_by_name(monkeypatch) -> None:
    """A module that is not there, a name that is not in it, or what is no function, is misconfigured."""
    module = types.ModuleType("my_hooks")
    module.clean = len  # type: ignore[attr-defined]
    module.number = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_hooks", module)
    assert load_transform("my_hooks:clean") is len
    for name in ("my_hooks:number", "my_hooks:nothing", "no_such_module:f"):
        with pytest.raises(Misconfigured, match=f"transform = '{name}'"):
            load_transform(name)
