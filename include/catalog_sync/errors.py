"""What can go wrong, sorted by what the caller should do next.

    CatalogSyncError
    ├── BadInput          mend the source, the file or the row; nothing was sent
    ├── Misconfigured     mend the configuration, a connection or a permission; do not retry
    ├── RetryLater        the same call may work later (carries ``after``, in seconds)
    ├── Superseded        a newer plan exists; this task must send nothing
    └── BooksDoNotBalance a row is unaccounted for; a person must look

Every message names the thing, the rule, the value and what to do. None carries a credential, a presigned link or a
request body: one field's value may appear, through ``shorten``.
"""

from __future__ import annotations


class CatalogSyncError(Exception):
    """Base of every error this project raises on purpose."""


class BadInput(CatalogSyncError):
    """The input cannot be used as it is: mend it and run again."""


class Misconfigured(CatalogSyncError):
    """A setting, connection, permission or AWS resource is wrong: a retry cannot help."""


class RetryLater(CatalogSyncError):
    """The same call may work later.

    :param after: seconds to wait before the next try; ``None`` leaves it to the caller.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after

    def __reduce__(self) -> tuple[type[RetryLater], tuple[str, float | None]]:
        return type(self), (str(self), self.after)


class Superseded(CatalogSyncError):
    """A newer plan exists, so what this task holds is old and must not be sent."""


class BooksDoNotBalance(CatalogSyncError):
    """The run cannot account for every row (invariant I6)."""


def shorten(value: object, limit: int = 80) -> str:
    """Return ``value`` as one printable line of at most ``limit`` characters, fit for an error text or a log line."""
    try:
        text = str(value)
    except (RecursionError, ValueError):  # a value nested too deeply, a number of thousands of digits
        text = f"a {type(value).__name__} that cannot be shown"
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
