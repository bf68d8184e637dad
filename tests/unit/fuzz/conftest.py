"""How many examples each parser was given, told at the end of a thorough run."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

#: Parser → examples.
RAN: Counter[str] = Counter()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the totals, when many examples were asked for."""
    if RAN and os.environ.get("HYPOTHESIS_PROFILE"):
        terminalreporter.section("fuzzing")
        for parser, examples in sorted(RAN.items()):
            terminalreporter.write_line(f"{parser:<24} {examples:>9,} examples")
        terminalreporter.write_line(f"{'all':<24} {RAN.total():>9,} examples, {len(RAN)} parsers")
