"""Where rows come from: files, SQL databases, paged JSON APIs, and classes of the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.settings import FileSourceSettings, HttpSourceSettings, SourceSettings, SqlSourceSettings

if TYPE_CHECKING:
    from catalog_sync.aws import Aws
    from catalog_sync.clock import Clock
    from catalog_sync.connections import Connections
    from catalog_sync.sources.base import Source


def open_source(
    settings: SourceSettings, connections: Connections, base: Path, clock: Clock, aws: Callable[[], Aws]
) -> Source:
    """Return the source that the settings describe.

    :raises Misconfigured: ``reader`` names no class of ``base.Source``.
    """
    if isinstance(settings, SqlSourceSettings):
        from catalog_sync.sources.sql import SqlSource

        return SqlSource(settings, connections, base)
    if isinstance(settings, HttpSourceSettings):
        from catalog_sync.sources.http import HttpSource

        return HttpSource(settings, connections, clock)
    if isinstance(settings, FileSourceSettings):
        from catalog_sync.sources.file import FileSource

        return FileSource(settings, base, aws)
    from catalog_sync.sources.base import Source

    made = load_object("reader", settings.reader)
    if not (isinstance(made, type) and issubclass(made, Source)):
        raise Misconfigured(f"reader = {settings.reader!r}: is no subclass of catalog_sync.sources.base.Source")
    factory: Any = made
    source: Source = factory(settings, connections)
    return source


def load_object(key: str, name: str) -> Any:
    """Return what ``module:name`` names.

    :param key: the setting's key, for the message.
    :raises Misconfigured: it cannot be imported.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"{key} = {name!r}: {shorten(error)}; it must be importable from include/") from None
