"""A measured process: it does one piece of work and prints, as its last line, what came of it and how long it took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

#: What a process prints before its result.
MARK = "BENCH "


def tell(work: Callable[[], dict[str, Any]], counts: Callable[[], dict[str, Any]] = dict) -> None:
    """Do the work and print its counts with ``seconds``, the time it took without the start of the process.

    :param counts: looks afterwards at what was made; its time does not count.
    """
    began = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - began
    sys.stdout.write(f"\n{MARK}{json.dumps({**made, **counts(), 'seconds': seconds})}\n")
    sys.stdout.flush()
