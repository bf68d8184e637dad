"""The list of every store of the retailer."""

from __future__ import annotations

import csv
import re

from catalog_sync.connections import Connections
from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.settings import Settings
from catalog_sync.sources.sql import query_text, text_of

_STORE = re.compile(r"[A-Za-z0-9._-]{1,255}")


def load_stores(settings: Settings, connections: Connections) -> tuple[str, ...]:
    """Return the configured stores, sorted.

    :raises Misconfigured: there is none, one stands twice, or one is no store id; the store and the place are named.
    """
    where, found = _read(settings, connections)
    if not found:
        raise Misconfigured(f"{where}: names no store")
    for store in found:
        if not _STORE.fullmatch(store):
            raise Misconfigured(f"{where}: store_id = {shorten(store)!r}: 1 to 255 letters, digits, '.', '_' or '-'")
    twice = sorted({store for store in found if found.count(store) > 1})
    if twice:
        raise Misconfigured(f"{where}: store_id = {twice[0]!r} stands twice")
    return tuple(sorted(found))


def _read(settings: Settings, connections: Connections) -> tuple[str, list[str]]:
    stores = settings.stores
    if stores.ids:
        return "stores.ids", list(stores.ids)
    if stores.file:
        path = settings.base / stores.file
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                columns, rows = list(reader.fieldnames or ()), list(reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise Misconfigured(f"stores.file = {stores.file!r}: {shorten(error, 200)}") from None
        if columns.count("store_id") > 1:
            raise Misconfigured(f"{path}: has the column store_id twice")
        if rows and "store_id" not in rows[0]:
            raise Misconfigured(f"{path}: has no column store_id; columns: {shorten(', '.join(map(str, rows[0])))}")
        return str(path), [str(row["store_id"] or "").strip() for row in rows]
    where, query = f"stores.query on {stores.conn_id!r}", query_text(str(stores.query), settings.base)
    with connections.dbapi(str(stores.conn_id)) as connection:
        cursor = connection.cursor()
        try:
            cursor.execute(query)
            return where, [(text_of(row[0]) or "").strip() for row in cursor.fetchall()]
        except Exception as error:
            raise Misconfigured(f"{where}: {type(error).__name__}: {shorten(error, 200)}") from None
        finally:
            cursor.close()
