"""Room on the disk below a lake that is a folder: writing stops before the disk is full, not when it is.

A full disk would also take Airflow's own database and logs down, and with them the account of what was lost.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

from catalog_sync.errors import Misconfigured

#: Bytes that stay free for everybody else on that disk.
KEEP_FREE = 256 * 1024**2

#: From a folder to the bytes that are free on its disk.
Free = Callable[[str], int]


class DiskNearlyFull(Misconfigured):
    """The lake's disk has no room for what is to be written; nothing of it was written."""


def free_bytes(folder: str) -> int:
    """Return the bytes that this process may still write on the folder's disk."""
    return shutil.disk_usage(folder).free


def require_room(folder: str, size: int, free: Free = free_bytes) -> None:
    """Raise unless ``size`` more bytes leave ``KEEP_FREE`` on the folder's disk.

    :raises DiskNearlyFull: they do not.
    """
    there = free(folder)
    if there - size < KEEP_FREE:
        raise DiskNearlyFull(
            f"lake = {folder}: its disk has {_mib(there)} free; {_mib(size)} are to be written and {_mib(KEEP_FREE)} "
            "must stay free. Make room on it or move the lake, then clear the failed task: nothing is lost"
        )


def _mib(size: int) -> str:
    return f"{-(-size // 1024**2):,} MiB"
