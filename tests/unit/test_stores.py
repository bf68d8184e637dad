"""The list of stores."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import Misconfigured
from catalog_sync.settings import Settings
from catalog_sync.stores import load_stores


def settings(tmp_path, **stores: Any) -> Settings:
    """A configuration with these stores."""
    return Settings.model_validate(
        {
            "retailer": "acme", "stores": stores, "lake": "x", "results": {"queue": "q", "topic_arn": "t"},
            "sources": [{"name": "erp", "kind": "file", "path": "x", "format": "csv"}], "base": tmp_path,
            "mapping": {"item_sku": "sku", "store_id": "store"},
        }
    )  # fmt: skip


NONE = EnvironmentConnections({})


def test_stores_of_a_file(tmp_path) -> None:
    """The column store_id of a CSV beside the configuration, sorted, blanks trimmed, other columns ignored."""
    (tmp_path / "stores.csv").write_bytes(b"\xef\xbb\xbfname,store_id\nPike, SEA-002 \nPine,SEA-001\n\n")
    assert load_stores(settings(tmp_path, file="stores.csv"), NONE) == ("SEA-001", "SEA-002")


def test_stores_of_a_list(tmp_path) -> None:
    """The ids themselves."""
    assert load_stores(settings(tmp_path, ids=["B", "A"]), NONE) == ("A", "B")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "names no store"),
        (b"store_id\n", "names no store"),
        (b"store_id,store_id\nA,B\n", "has the column store_id twice"),
        (b"id\n1\n", "has no column store_id; columns: id"),
        (b"store_id\nA\nA \n", "store_id = 'A' stands twice"),
        (b"store_id,name\nA,x\n,y\n", "store_id = ''"),
        (b"store_id\nA B\n", "store_id = 'A B': 1 to 255 letters"),
        (b"store_id\n" + b"A" * 256 + b"\n", "1 to 255 letters"),
        (b"store_id\n\xe9\n", r"stores.file = 'stores.csv'"),
    ],
)
def test_a_file_that_is_no_list_of_stores(tmp_path, data, message) -> None:
    """The message names the file and the store."""
    (tmp_path / "stores.csv").write_bytes(data)
    with pytest.raises(Misconfigured, match=message):
        load_stores(settings(tmp_path, file="stores.csv"), NONE)


def test_a_file_that_is_not_there(tmp_path) -> None:
    """The message names the setting."""
    with pytest.raises(Misconfigured, match=r"stores.file = 'none.csv'"):
        load_stores(settings(tmp_path, file="none.csv"), NONE)


def test_stores_of_a_query(tmp_path) -> None:
    """SQL, or a .sql file; numbers are text; a NULL is no store; a broken query is an error."""
    with closing(sqlite3.connect(tmp_path / "erp.db")) as db:
        db.execute("CREATE TABLE stores (id INTEGER)")
        db.executemany("INSERT INTO stores VALUES (?)", [(12,), (7,)])
        db.commit()
        connection = {"AIRFLOW_CONN_ERP": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "erp.db")})}
        connections = EnvironmentConnections(connection)
        (tmp_path / "stores.sql").write_text("SELECT id FROM stores;")
        for query in ("SELECT id FROM stores", "stores.sql"):
            assert load_stores(settings(tmp_path, conn_id="erp", query=query), connections) == ("12", "7")
        with pytest.raises(Misconfigured, match=r"stores.query on 'erp': OperationalError"):
            load_stores(settings(tmp_path, conn_id="erp", query="SELECT x FROM nothing"), connections)
        db.execute("INSERT INTO stores VALUES (NULL)")
        db.commit()
        with pytest.raises(Misconfigured, match="store_id = ''"):
            load_stores(settings(tmp_path, conn_id="erp", query="SELECT id FROM stores"), connections)
