"""The file source: every file that a path names, in one format, gzip or not."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
from obstore.exceptions import BaseError

from catalog_sync.aws import Aws
from catalog_sync.errors import BadInput, RetryLater, shorten
from catalog_sync.settings import FileSourceSettings
from catalog_sync.sources import delimited, formats, json_rows
from catalog_sync.sources.base import Source
from catalog_sync.sources.locate import Found, locate

#: A compressed Parquet file or workbook that unpacks to more than this is refused; it would fill the memory.
MAX_WHOLE = 2 * 1024 * 1024 * 1024


class FileSource(Source):
    """Rows of files.

    :param settings: path, format, encoding, and so on.
    :param base: the folder that a relative path is relative to.
    :param aws: the account for ``s3://`` paths.
    """

    def __init__(self, settings: FileSourceSettings, base: Path, aws: Callable[[], Aws]) -> None:
        super().__init__()
        self._settings = settings
        self._base = base
        self._aws = aws
        self.sparse = settings.format == "jsonl"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of every file, file by file in the order of their names.

        :raises BadInput: there is no file, or one cannot be read to its end.
        :raises RetryLater: the place that holds the files does not answer.
        """
        found = locate(self._settings.path, self._base, self._aws)
        times = [file.modified_at for file in found]
        # The oldest file is what makes the source stale.
        self.modified_at = min((time for time in times if time is not None), default=None)
        for file in found:
            try:
                before = file.stamp()
                with closing(file.open()) as stream:
                    yield from self._read(stream, file)
                if file.stamp() != before:
                    raise RetryLater(f"{file.name}: was changed while it was read; nothing of it is used")
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise BadInput(f"{file.name}: gzip data is cut off or damaged ({error}); nothing was read") from None
            except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
                raise BadInput(f"{file.name}: cannot be read: {shorten(error, 200)}; nothing was read") from None
            except (OSError, BaseError) as error:
                raise RetryLater(f"{file.name}: cannot be read now: {type(error).__name__}; nothing was read") from None

    def _read(self, stream: Any, file: Found) -> Iterator[pa.RecordBatch]:
        settings, kind = self._settings, self._settings.format
        if kind in ("parquet", "xlsx"):
            seekable = _whole(stream, file.name)
            yield from (
                formats.read_parquet(seekable, file.name, self.unreadable)
                if kind == "parquet"
                else formats.read_xlsx(seekable, file.name, settings.sheet, self.unreadable)
            )
            return
        plain: Any = io.BufferedReader(_Readable(stream), 1 << 20)
        plain = gzip.GzipFile(fileobj=plain) if file.name.endswith(".gz") else plain
        if kind == "jsonl":
            yield from json_rows.read_jsonl(plain, file.name, settings.encoding, self.unreadable)
            return
        delimiter = settings.delimiter or ("\t" if kind == "tsv" else ",")
        yield from delimited.read(
            plain, file.name, delimiter=delimiter, encoding=settings.encoding, unreadable=self.unreadable
        )


def _whole(stream: Any, name: str) -> Any:
    """Return the whole file in memory: these formats keep their directory at the end."""
    data = bytes(stream.read())
    if not name.endswith(".gz"):
        return io.BytesIO(data)
    plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_WHOLE + 1)
    if len(plain) > MAX_WHOLE:
        raise BadInput(f"{name}: unpacks to over {MAX_WHOLE} bytes; nothing was read")
    return io.BytesIO(plain)


class _Readable(io.RawIOBase):
    """Any object with ``read`` as a raw stream: object stores' readers are not io objects."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; 0 at the end."""
        data = bytes(self._stream.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)
