"""The SQL source: rows of a query on any Airflow SQL connection, read in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog_sync.connections import Connections
from catalog_sync.errors import BadInput, CatalogSyncError, Misconfigured, RetryLater, shorten
from catalog_sync.settings import SqlSourceSettings
from catalog_sync.sources.base import Source, batch_of, check_names

#: ``include/``, which paths of queries are relative to.
INCLUDE = Path(__file__).resolve().parents[2]
#: PEP 249: errors "related to the database's operation and not necessarily under the control of the programmer".
_PASSING = ("OperationalError", "InterfaceError")


def query_text(query: str, base: Path) -> str:
    """Return the SQL text of a setting: SQL as it is, or what stands in the file when it ends in ``.sql``.

    :param base: the folder of the configuration, searched after ``include/``.
    :raises Misconfigured: the file does not exist or is not UTF-8.
    """
    name = query.strip()
    if not name.endswith(".sql"):
        return query
    places = [folder / name for folder in (INCLUDE, base)]
    for place in places:
        if place.is_file():
            try:
                return place.read_text(encoding="utf-8").strip().rstrip(";")
            except UnicodeDecodeError:
                raise Misconfigured(f"{place}: is not UTF-8") from None
    raise Misconfigured(f"query = {shorten(query)!r}: no such file; looked for {' and '.join(map(str, places))}")


class SqlSource(Source):
    """Rows of a query.

    :param settings: the connection, the query (SQL, or a path that ends in ``.sql``) and the rows of a chunk.
    :param connections: where the connection comes from.
    :param base: the folder of the configuration, searched for the query's file after ``include/``.
    """

    def __init__(self, settings: SqlSourceSettings, connections: Connections, base: Path) -> None:
        super().__init__()
        self._settings = settings
        self._connections = connections
        self._base = base

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the query, ``chunk_rows`` at a time; a result without rows yields an empty batch.

        :raises BadInput: the database refuses the query.
        :raises RetryLater: the database does not answer, or breaks off.
        """
        sql = query_text(self._settings.query, self._base)
        with self._connections.dbapi(self._settings.conn_id) as connection:
            cursor = _cursor(connection)
            try:
                cursor.execute(sql)
                yield from self._fetch(cursor)
            except CatalogSyncError:
                raise
            except Exception as error:
                raise self._failure(error) from None
            finally:
                cursor.close()

    def _failure(self, error: Exception) -> CatalogSyncError:
        """Return our error of the driver's. Drivers share no base class, only PEP 249's names."""
        kind = type(error)
        # The text may quote the query, never the credentials.
        text = f"connection {self._settings.conn_id!r}: {kind.__name__}: {shorten(error, 300)}; nothing was read"
        # SQLite calls a missing table operational, too.
        passing = kind.__name__ in _PASSING and not kind.__module__.startswith("sqlite3")
        return RetryLater(text) if passing else BadInput(text)

    def _fetch(self, cursor: Any) -> Iterator[pa.RecordBatch]:
        first = 1
        while True:
            rows = cursor.fetchmany(self._settings.chunk_rows)
            if not rows and first > 1:
                return
            names = [str(column[0]) for column in cursor.description]
            check_names(names, f"connection {self._settings.conn_id!r}: the query")
            values = [[text_of(value) for value in row] for row in rows]
            yield batch_of(names, values, range(first, first + len(rows)), "", self.unreadable)
            first += max(len(rows), 1)


def _cursor(connection: Any) -> Any:
    """Return a cursor that does not fetch everything at once, where the driver has one."""
    driver = getattr(connection, "driver_connection", connection)
    if type(driver).__module__.startswith("psycopg"):  # 2 or 3
        # A named cursor stays on the server, so memory is that of one chunk.
        return driver.cursor(name="catalog_sync")
    return connection.cursor()


def text_of(value: Any) -> str | None:
    """Return a database value as text: numbers as written (a ``Decimal`` without exponent), dates in ISO form.

    Bytes that are not UTF-8 become lone surrogates, so that their row is found to be unreadable.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "surrogateescape")
    if isinstance(value, list | tuple):
        return "|".join(text_of(part) or "" for part in value)
    return str(value)
