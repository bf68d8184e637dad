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
from catalog_sync.errors import BadInput, Misconfigured, RetryLater, shorten

_WILD = "*?["


@dataclass(frozen=True)
class Found:
    """One file: its name for messages and provenance, when it was changed, and how to open it for reading bytes.

    ``stamp`` tells whether the file was changed while it was read: it is then another before and after. An object
    store hands out one version of an object, whatever happens meanwhile.
    """

    name: str
    modified_at: float | None
    open: Callable[[], Any]
    stamp: Callable[[], object] = tuple


def locate(path: str, base: Path, aws: Callable[[], Aws]) -> list[Found]:
    """Return the files that ``path`` names, sorted by name.

    :param base: the folder that a relative local path is relative to.
    :param aws: the account for ``s3://`` paths, asked for only then.
    :raises BadInput: no file matches, or an object there has a key that cannot be read.
    :raises Misconfigured: the path holds a password, is no key that can be read, or the place cannot be listed with
        these permissions.
    :raises RetryLater: the place does not answer.
    """
    scheme = urlsplit(path).scheme
    if "@" in urlsplit(path).netloc:
        raise Misconfigured("path: holds a user or password; secrets belong into a connection or the environment")
    if scheme == "s3":
        found = _s3(path, aws())
    elif "://" in path and scheme != "file":
        found = _fsspec(path)
    else:
        found = _local(path.removeprefix("file://"), base)
    if not found:
        raise BadInput(f"path = {shorten(path, 200)!r}: no file matches; nothing was read")
    return sorted(found, key=lambda one: one.name)


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in _WILD)


def _local(path: str, base: Path) -> list[Found]:
    one = base / Path(path).expanduser()
    if one.is_file() or not _is_pattern(path):
        files = [one]
    else:
        pattern = str(Path(path).expanduser())
        files = [base / name for name in glob.glob(pattern, root_dir=base, recursive=True)]
        files = [file for file in files if file.is_file()]
    if files == [one] and not one.is_file():
        raise BadInput(f"{one}: there is no such file; nothing was read")
    return [Found(file.name, file.stat().st_mtime, partial(file.open, "rb"), partial(_stamp, file)) for file in files]


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def _s3(path: str, aws: Aws) -> list[Found]:
    import obstore
    from obstore.exceptions import (
        BaseError,
        InvalidPathError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    from catalog_sync.lake import s3_store

    bucket, _, key = path.removeprefix("s3://").partition("/")
    store = s3_store(bucket, "", aws)
    try:
        if _is_pattern(key):
            metas = _s3_matches(store, key)
        else:
            metas = [obstore.head(store, key)]
    except (NotFoundError, FileNotFoundError):
        return []
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise Misconfigured(
            f"{shorten(path, 200)}: {type(error).__name__}: the connection's role may not read it (s3:ListBucket, "
            "s3:GetObject)"
        ) from None
    except InvalidPathError as error:  # one such key spoils the whole listing
        raise BadInput(
            f"{shorten(path, 200)}: cannot be listed, since a key there has an empty part, '.', '..' or a control "
            f"character: {_words(error)}; move or rename that object, or choose another folder; nothing was read"
        ) from None
    except ValueError as error:
        raise Misconfigured(
            f"path = {shorten(path, 200)!r}: {_words(error)}; write a key without empty parts, '.', '..' and control "
            "characters"
        ) from None
    except BaseError as error:
        raise RetryLater(f"{shorten(path, 200)}: cannot be listed now: {type(error).__name__}") from None
    return [
        Found(
            PurePosixPath(meta["path"]).name,
            meta["last_modified"].timestamp(),
            partial(obstore.open_reader, store, meta["path"]),
        )
        for meta in metas
    ]


def _words(error: Exception) -> str:
    """Return obstore's words for a key that it cannot read, without what it adds for its own authors."""
    return shorten(str(error).partition("\n\nDebug source")[0], 400)


def _s3_matches(store: Any, pattern: str) -> list[Any]:
    """List what lies below the pattern's fixed folder, and keep what matches."""
    import obstore

    first = min(pattern.index(sign) for sign in _WILD if sign in pattern)
    folder = pattern[:first].rpartition("/")[0]
    return [
        meta
        for chunk in obstore.list(store, folder or None)
        for meta in chunk
        if fnmatchcase(meta["path"], pattern) and _same_depth(meta["path"], pattern)
    ]


def _same_depth(path: str, pattern: str) -> bool:
    """Tell whether both are equally deep: a ``*`` stays within one folder, as in a shell; ``**`` does not."""
    return "**" in pattern or path.count("/") == pattern.count("/")


def _fsspec(path: str) -> list[Found]:
    import fsspec

    try:
        files = fsspec.open_files(path, "rb")
        return [Found(PurePosixPath(file.path).name, _modified(file), file.open) for file in files]
    except (ValueError, ImportError) as error:
        raise Misconfigured(f"path = {shorten(path, 200)!r}: {shorten(error, 200)}") from None
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RetryLater(f"path = {shorten(path, 200)!r}: cannot be listed now: {type(error).__name__}") from None


def _modified(file: Any) -> float | None:
    """Return when the file was changed, where its file system can tell."""
    try:
        return float(file.fs.modified(file.path).timestamp())
    except NotImplementedError:
        return None
