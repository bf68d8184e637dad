"""The lines of a text file, decoded so that a line that does not decode is found without losing the others."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import Any

from catalog_sync.errors import BadInput, Misconfigured, shorten

#: Characters of one line, far more than a row has: a file without line ends would fill the memory.
MAX_LINE = 16 * 1024 * 1024


class Lines:
    r"""A file's lines with their line ends (``\n``, ``\r\n`` or ``\r``).

    Bytes that the encoding does not allow become lone surrogates (``base.fault`` finds them). A byte order mark is
    dropped.

    :param stream: the file's bytes.
    :param name: the file's name.
    :raises Misconfigured: there is no such encoding.
    """

    def __init__(self, stream: Any, name: str, encoding: str) -> None:
        try:
            codec = codecs.lookup(encoding).name
            "".encode(codec)
        except LookupError:
            raise Misconfigured(f"encoding = {shorten(encoding)!r}: Python knows no such text encoding") from None
        self._name, self._encoding = name, encoding
        # UTF-16 and UTF-32 lose their step at the first bad byte, so there is no next line to go on with.
        wide = codec.startswith(("utf-16", "utf-32"))
        self._text = io.TextIOWrapper(
            stream,
            encoding="utf-8-sig" if codec == "utf-8" else codec,
            errors="strict" if wide else "surrogateescape",
            newline="",
        )
        #: The line that was handed out last.
        self.last = ""

    @property
    def ended(self) -> bool:
        """Whether the last line has its line end; only a file's last line may lack it."""
        return self.last.endswith(("\n", "\r"))

    def __iter__(self) -> Iterator[str]:
        """Yield the lines.

        :raises BadInput: the file's bytes do not decode, and where the next line begins cannot be told; or a line is
            longer than ``MAX_LINE``.
        """
        try:
            while line := self._text.readline(MAX_LINE):
                self.last = line
                if len(line) == MAX_LINE:
                    raise BadInput(f"{self._name}: a line of over {MAX_LINE} characters; nothing was read")
                yield line
        except UnicodeDecodeError:
            raise BadInput(f"{self._name}: is not {shorten(self._encoding)}; nothing was read") from None
