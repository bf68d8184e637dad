"""The examples of docs/sources.md work."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import yaml

from catalog_sync.connections import EnvironmentConnections
from catalog_sync.mapping import Mapper
from catalog_sync.settings import Settings
from catalog_sync.sources import open_source

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's code blocks in that language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_work(monkeypatch, clock, tmp_path) -> None:
    """The configuration is valid, the class is a source, the mapping maps, and the hook takes a frame."""
    parts: dict[str, Any] = {}
    for block in blocks("yaml"):
        parts |= yaml.safe_load(block)
    rest = {"retailer": "a", "stores": {"ids": ["A"]}, "lake": "x", "results": {"queue": "q", "topic_arn": "t"}}
    settings = Settings.model_validate({**parts, **rest})
    own, hook = blocks("python")
    module: Any = types.ModuleType("pos_source")
    exec(own, module.__dict__)
    monkeypatch.setitem(sys.modules, "pos_source", module)
    connections = EnvironmentConnections({"AIRFLOW_CONN_POS": json.dumps({"conn_type": "http", "host": "pos"})})
    source = open_source(settings.sources[0], connections, tmp_path, clock, lambda: None)  # type: ignore[arg-type,return-value]
    (batch,) = source.batches()
    assert batch.num_rows == 1
    assert [row.reason for row in source.unreadable] == ["is torn"]
    columns = {"item_no": "1", "store_no": "A", "brand": "B", "descr": "d", "cents": "950", "__row": 1}
    raw = pl.DataFrame([columns])
    mapped = Mapper(settings.mapping, "pos").map(raw)
    assert mapped.select("item_sku", "item_name", "standard_price").rows() == [("1", "B d", "9.5")]
    names: dict[str, Any] = {}
    exec(hook, names)
    rows = pd.DataFrame({"product_category": ["TOBACCO", "FOOD", None]})
    assert names["clean"](rows).index.tolist() == [1, 2]
