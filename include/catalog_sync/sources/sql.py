"""The SQL source: rows of a query on any Airflow SQL connection, read in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog_sync.connections import Connections
from catalog_sync.errors import BadInput, shorten
from catalog_sync.settings import SqlSourceSettings
from catalog_sync.sources.base import ROW, Source

#: ``include/``, which paths of queries are relative to.
INCLUDE = Path(__file__).resolve().parents[2]


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

    def query(self) -> str:
        """Return the SQL text.

        :raises BadInput: the file does not exist or is not UTF-8.
        """
        text = self._settings.query
        if not text.strip().endswith(".sql"):
            return text
        places = [folder / text.strip() for folder in (INCLUDE, self._base)]
        for place in places:
            if place.is_file():
                try:
                    return place.read_text(encoding="utf-8").strip().rstrip(";")
                except UnicodeDecodeError:
                    raise BadInput(f"{place}: is not UTF-8") from None
        raise BadInput(f"query = {shorten(text)!r}: no such file; looked for {' and '.join(map(str, places))}")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the query, ``chunk_rows`` at a time."""
        sql = self.query()
        with self._connections.dbapi(self._settings.conn_id) as connection:
            cursor = self._cursor(connection)
            try:
                cursor.execute(sql)
                yield from self._fetch(cursor)
            except BadInput:
                raise
            except Exception as error:
                # Drivers share no base class; the text may quote the query, never the credentials.
                raise BadInput(
                    f"connection {self._settings.conn_id!r}: {shorten(error, 300)}; nothing was read"
                ) from None
            finally:
                cursor.close()

    def _cursor(self, connection: Any) -> Any:
        """Return a cursor that does not fetch everything at once, where the driver has one."""
        if type(getattr(connection, "driver_connection", connection)).__module__.startswith("psycopg2"):
            # A named cursor stays on the server, so memory is that of one chunk.
            cursor = getattr(connection, "driver_connection", connection).cursor(name="catalog_sync")
            cursor.itersize = self._settings.chunk_rows
            return cursor
        return connection.cursor()

    def _fetch(self, cursor: Any) -> Iterator[pa.RecordBatch]:
        first = 1
        names: list[str] = []
        while rows := cursor.fetchmany(self._settings.chunk_rows):
            names = names or self._names(cursor)
            columns: list[Any] = [
                pa.array([_text(value) for value in column], pa.string()) for column in zip(*rows, strict=True)
            ]
            columns.append(pa.array(range(first, first + len(rows)), pa.int64()))
            first += len(rows)
            yield pa.RecordBatch.from_arrays(columns, names=[*names, ROW])

    def _names(self, cursor: Any) -> list[str]:
        names = [str(column[0]) for column in cursor.description]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadInput(f"connection {self._settings.conn_id!r}: the query returns the column {twice[0]!r} twice")
        return names


def _text(value: Any) -> str | None:
    """Return a database value as text: numbers as written, without an exponent; dates in ISO form."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        return "|".join(_text(part) or "" for part in value)
    return str(value)
