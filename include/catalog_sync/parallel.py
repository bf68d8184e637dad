"""Work spread over this machine's cores: Polars, Parquet and zstd release the interpreter's lock while they work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[In], Out], pieces: Iterable[In]) -> Iterator[Out]:
    """Yield what ``work`` makes of each piece, in order; as many pieces as there are cores are worked on at once.

    The first error is raised in its turn; pieces that have not begun by then are left undone.
    """
    pool = ThreadPoolExecutor(cores())
    try:
        yield from pool.map(work, pieces)
    finally:
        pool.shutdown(cancel_futures=True)
