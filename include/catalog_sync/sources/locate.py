"""Finding and opening the files of a file source: local, ``s3://``, or any path that fsspec knows."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from catalog_sync.aws import Aws
from catalog_sync.errors import BadInput, shorten

_WILD = "*?["


@dataclass(frozen=True)
class Found:
    """One file: its name for messages and provenance, when it was changed, and how to open it for reading bytes."""

    name: str
    modified_at: float | None
    open: Callable[[], Any]


def locate(path: str, base: Path, aws: Callable[[], Aws]) -> list[Found]:
    """Return the files that ``path`` names, sorted by name.

    :param base: the folder that a relative local path is relative to.
    :param aws: the account for ``s3://`` paths, asked for only then.
    :raises BadInput: no file matches, or the place cannot be listed.
    """
    scheme = urlsplit(path).scheme
    if scheme == "s3":
        found = _s3(path, aws())
    elif "://" in path and scheme != "file":
        found = _fsspec(path)
    else:
        found = _local(path.removeprefix("file://"), base)
    if not found:
        raise BadInput(f"path = {shorten(path, 200)!r}: no file matches; nothing was read")
    return sorted(found, key=lambda one: one.name)


def _local(path: str, base: Path) -> list[Found]:
    whole = str(base / Path(path).expanduser())
    names = glob.glob(whole, recursive=True) if any(sign in path for sign in _WILD) else [whole]
    files = [Path(name) for name in names]
    missing = [file for file in files if not file.is_file()]
    if missing and not any(sign in path for sign in _WILD):
        raise BadInput(f"{missing[0]}: there is no such file; nothing was read")
    return [Found(file.name, file.stat().st_mtime, partial(file.open, "rb")) for file in files if file.is_file()]


def _s3(path: str, aws: Aws) -> list[Found]:
    import obstore
    from obstore.exceptions import BaseError

    from catalog_sync.lake import s3_store

    parts = urlsplit(path)
    key = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    store = s3_store(parts.netloc, "", aws)
    first = min((key.index(sign) for sign in _WILD if sign in key), default=len(key))
    prefix = key[:first].rpartition("/")[0] if first < len(key) else key
    found = []
    try:
        for chunk in obstore.list(store, prefix.rpartition("/")[0] if prefix == key else prefix or None):
            for meta in chunk:
                if fnmatchcase(meta["path"], key) and _same_depth(meta["path"], key):
                    found.append(
                        Found(
                            PurePosixPath(meta["path"]).name,
                            meta["last_modified"].timestamp(),
                            partial(obstore.open_reader, store, meta["path"]),
                        )
                    )
    except BaseError as error:
        raise BadInput(f"{shorten(path, 200)}: cannot be listed: {type(error).__name__}") from None
    return found


def _same_depth(path: str, pattern: str) -> bool:
    """Tell whether both are equally deep: a ``*`` stays within one folder, as in a shell; ``**`` does not."""
    return "**" in pattern or path.count("/") == pattern.count("/")


def _fsspec(path: str) -> list[Found]:
    import fsspec

    try:
        files = fsspec.open_files(path, "rb")
    except (ValueError, ImportError, OSError) as error:
        raise BadInput(f"path = {shorten(path, 200)!r}: {shorten(error, 200)}") from None
    return [Found(PurePosixPath(file.path).name, None, file.open) for file in files]
