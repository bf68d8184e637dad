"""SQL sources, on SQLite; tests/integration has PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import BadInput, Misconfigured, RetryLater
from catalog_sync.settings import SqlSourceSettings
from catalog_sync.sources.base import ROW
from catalog_sync.sources.sql import SqlSource, text_of


@pytest.fixture
def connections(tmp_path) -> EnvironmentConnections:
    """A database with three items."""
    with closing(sqlite3.connect(tmp_path / "erp.db")) as db:
        db.execute("CREATE TABLE items (sku TEXT, number INTEGER, price REAL, raw BLOB)")
        db.executemany(
            "INSERT INTO items VALUES (?, ?, ?, ?)",
            [("001", 12, 9.5, b"abc"), ("002", 4011, 4011.0, None), ("", 3, 1, b"\xff")],
        )
        db.commit()
    value = json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "erp.db")})
    return EnvironmentConnections({"AIRFLOW_CONN_ERP": value})


def source(connections, query, tmp_path, **changes) -> SqlSource:
    """The source of a query."""
    return SqlSource(
        SqlSourceSettings(name="erp", kind="sql", conn_id="erp", query=query, **changes), connections, tmp_path
    )


def test_rows_come_in_chunks_as_text(connections, tmp_path) -> None:
    """A chunk is a batch, rows are numbered through, and types are written canonically."""
    batches = list(
        source(connections, "SELECT sku, number, price FROM items ORDER BY rowid", tmp_path, chunk_rows=2).batches()
    )
    assert [batch.num_rows for batch in batches] == [2, 1]
    rows = pl.concat([pl.DataFrame(batch) for batch in batches])
    assert rows.select("sku", "number", "price", ROW).rows() == [
        ("001", "12", "9.5", 1), ("002", "4011", "4011.0", 2), ("", "3", "1.0", 3),
    ]  # fmt: skip


def test_bytes_that_are_no_text_make_a_row_unreadable(connections, tmp_path) -> None:
    """The other rows are read."""
    one = source(connections, "SELECT raw FROM items ORDER BY rowid", tmp_path)
    assert pl.concat([pl.DataFrame(batch) for batch in one.batches()])["raw"].to_list() == ["abc", None]
    assert [(row.row, row.reason) for row in one.unreadable] == [(3, "holds bytes that are not utf-8")]


def test_no_rows_are_an_empty_batch_with_columns(connections, tmp_path) -> None:
    """So that the mapping is checked."""
    (batch,) = source(connections, "SELECT sku FROM items WHERE 0", tmp_path).batches()
    assert batch.num_rows == 0
    assert "sku" in batch.schema.names


def test_the_query_may_be_a_file(connections, tmp_path) -> None:
    """A path that ends in .sql is looked for below include/ and beside the configuration; the error names both."""
    (tmp_path / "q.sql").write_text("SELECT sku FROM items LIMIT 1;\n")
    (batch,) = source(connections, "q.sql", tmp_path).batches()
    assert batch.column("sku").to_pylist() == ["001"]
    with pytest.raises(
        Misconfigured, match=rf"'r\.sql': no such file; looked for .*include/r\.sql and {tmp_path}/r\.sql"
    ):
        list(source(connections, "r.sql", tmp_path).batches())


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT missing FROM items", "connection 'erp': OperationalError: no such column: missing"),
        ("SELECT sku, number AS sku FROM items", "connection 'erp': the query: has the column 'sku' twice"),
    ],
)
def test_a_query_that_fails_is_bad_input(connections, tmp_path, query, message) -> None:
    """The message names the connection and what the database says."""
    with pytest.raises(BadInput, match=message):
        list(source(connections, query, tmp_path).batches())


def test_a_missing_connection_is_misconfigured(tmp_path) -> None:
    """The message names the connection."""
    with pytest.raises(Misconfigured, match="connection 'erp'"):
        list(source(EnvironmentConnections({}), "SELECT 1", tmp_path).batches())


class OperationalError(Exception):
    """As a driver other than SQLite's names a lost connection (PEP 249)."""


def test_a_lost_connection_may_come_back(connections, tmp_path) -> None:
    """Then the task tries again."""
    failure = source(connections, "SELECT 1", tmp_path)._failure(OperationalError("server closed the connection"))
    assert isinstance(failure, RetryLater)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None), ("012", "012"), (12, "12"), (True, "true"), (Decimal("9.50"), "9.50"), (Decimal("1E+3"), "1000"),
        (4011.0, "4011.0"), (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (memoryview(b"ab"), "ab"), (["4011", 4012, None], "4011|4012|"),
    ],
)  # fmt: skip
def test_values_as_text(value, text) -> None:
    """Integers have no ``.0``, decimals no exponent, dates are ISO."""
    assert text_of(value) == text
