"""JSON pages over HTTP, and what a database driver hands out."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from contextlib import AbstractContextManager, closing
from decimal import Decimal
from typing import Any

import httpx
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.fuzz.conftest import RAN
from tests.unit.fuzz.strategies import HOSTILE_JSON, JSON, TEXT, documents, dumps, hostile_values, is_told_well, some

from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import CatalogSyncError
from catalog_sync.settings import HttpSourceSettings, SqlSourceSettings
from catalog_sync.sources.base import ROW, Source
from catalog_sync.sources.http import HttpSource
from catalog_sync.sources.sql import SqlSource


class Still:
    """A clock on which waiting takes no time."""

    def time(self) -> float:
        """The same time always."""
        return 1_790_000_000.0

    def sleep(self, seconds: float) -> None:
        """Not at all."""


def numbers(source: Source) -> list[int] | None:
    """The number of every row, read or not, in order; ``None`` when the source is refused in the documented way."""
    try:
        frames = [pl.DataFrame(batch) for batch in source.batches()]
    except CatalogSyncError as error:
        is_told_well(error, 600)
        return None
    return sorted([*(n for frame in frames for n in frame[ROW]), *(row.row for row in source.unreadable)])


ROWS = st.lists(st.dictionaries(st.sampled_from(["sku", "name", "é"]), JSON, max_size=3) | JSON, max_size=5)
STEP = some(
    "items?page=2", "/api/x", "https://erp.example/api/y", "https://elsewhere.example/", "//[", "?" + "x" * 70_000, 7
)
PAGE = documents(rows=ROWS | JSON, next=STEP)


def pages(bodies: list[bytes], **settings: Any) -> HttpSource:
    """A source whose pages are these, one after the other, the last one again and again."""
    connection = json.dumps({"host": "https://erp.example/api", "login": "u", "password": "p"})
    left = list(bodies)
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=left.pop(0) if len(left) > 1 else left[0])
    )
    made = HttpSourceSettings.model_validate(
        {"name": "erp", "kind": "http", "conn_id": "erp", "endpoint": "items", "max_pages": 9, **settings}
    )
    return HttpSource(made, EnvironmentConnections({"AIRFLOW_CONN_ERP": connection}), Still(), transport)


@given(
    st.lists(
        (hostile_values(PAGE) | PAGE.map(dumps) | JSON.map(dumps) | HOSTILE_JSON).map(lambda text: text.encode())
        | st.binary(max_size=40),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([None, "page"]),
    st.sampled_from(["rows", "", "data.rows"]),
)
def test_any_pages(bodies: list[bytes], parameter: str | None, rows: str) -> None:
    """Rows are numbered through all pages without a gap, or the source is refused."""
    RAN["http pages"] += 1
    found = numbers(pages(bodies, rows=rows, next="next", next_param=parameter))
    assert found is None or found == list(range(1, len(found) + 1))


@given(st.lists(ROWS, min_size=1, max_size=3), st.booleans())
def test_no_row_of_a_page_is_lost(listed: list[list[Any]], token: bool) -> None:
    """Every entry of every page's list is a row that is read, or unreadable, once."""
    RAN["http rows"] += 1
    bodies = [
        dumps({"rows": rows, "next": None if n == len(listed) else f"t{n}" if token else f"items{n}"}).encode()
        for n, rows in enumerate(listed, 1)
    ]
    found = numbers(pages(bodies, rows="rows", next="next", next_param="t" if token else None))
    if found is None:  # the names of our own columns are refused
        assert any(name in body for body in bodies for name in (b"__row", b"__file"))
        return
    assert found == list(range(1, sum(map(len, listed)) + 1))


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    TEXT,
    st.text(max_size=5),
    st.integers(),
    st.just(10**5000),
    st.floats(),
    st.decimals(),
    st.just(Decimal("1E+5000")),
    st.booleans(),
    st.binary(max_size=5),
    st.binary(max_size=5).map(bytearray),
    st.binary(max_size=5).map(memoryview),
    st.datetimes() | st.dates() | st.times() | st.timedeltas(),
    st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=14))])),
    st.uuids() | st.just(uuid.UUID(int=0)),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


class Driver:
    """A PEP 249 connection, and its own cursor, that hands out these rows."""

    def __init__(self, names: list[str], rows: list[list[Any]]) -> None:
        self.description = [(name,) for name in names]
        self.left = rows

    def get(self, conn_id: str) -> Any:
        raise AssertionError("not asked for")

    def dbapi(self, conn_id: str) -> AbstractContextManager[Any]:
        return closing(self)

    aws = get

    def cursor(self) -> Driver:
        return self

    def execute(self, query: str) -> None:
        """Nothing to do."""

    def fetchmany(self, size: int) -> list[list[Any]]:
        found, self.left = self.left[:size], self.left[size:]
        return found

    def close(self) -> None:
        """Nothing to close."""


@given(
    st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=8),
    st.lists(st.sampled_from(["sku", "name", "", "__row", "é", "\ud800"]), min_size=2, max_size=2),
    st.integers(1, 4),
)
def test_any_values_of_a_database(rows: list[list[Any]], names: list[str], chunk: int) -> None:
    """Every row of a query is read, or unreadable, once; a query that cannot be used is refused."""
    RAN["sql values"] += 1
    made = SqlSourceSettings(name="erp", kind="sql", conn_id="erp", query="SELECT", chunk_rows=chunk)
    from pathlib import Path

    found = numbers(SqlSource(made, Driver(names, rows), Path()))
    assert found is None or found == list(range(1, len(rows) + 1))
