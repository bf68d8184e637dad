"""Where rows come from: files, SQL databases and paged JSON APIs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from catalog_sync.settings import FileSourceSettings, HttpSourceSettings, SqlSourceSettings

if TYPE_CHECKING:
    from catalog_sync.aws import Aws
    from catalog_sync.clock import Clock
    from catalog_sync.connections import Connections
    from catalog_sync.sources.base import Source


def open_source(
    settings: SqlSourceSettings | FileSourceSettings | HttpSourceSettings,
    connections: Connections,
    base: Path,
    clock: Clock,
    aws: Callable[[], Aws],
) -> Source:
    """Return the source that the settings describe. A new kind of source is a class of ``base.Source``, named here."""
    if isinstance(settings, SqlSourceSettings):
        from catalog_sync.sources.sql import SqlSource

        return SqlSource(settings, connections, base)
    if isinstance(settings, HttpSourceSettings):
        from catalog_sync.sources.http import HttpSource

        return HttpSource(settings, connections, clock)
    from catalog_sync.sources.file import FileSource

    return FileSource(settings, base, aws)
