"""Where many small files are written and forgotten: in memory, where the machine has room there."""

from __future__ import annotations

import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")
#: A container often has only 64 MiB of it, less than a lake leaves free.
_ENOUGH = 1024**3


def fast_place() -> Path | None:
    """Return a folder in memory, or ``None`` (the temporary folder) when there is too little room."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH else None
