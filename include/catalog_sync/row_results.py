"""What became of each planned row and SKU of a run, over all its attempts, and their side of the books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from catalog_sync import books
from catalog_sync.archives import is_archive
from catalog_sync.attempts import Attempt, State
from catalog_sync.doubt import attempts_of

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: What became of a planned row, in the order in which a later attempt's word outranks an earlier one's.
_UNSENT, _UNKNOWN, _FAILED, _REFUSED, _ACKNOWLEDGED = range(5)
_COLUMN = ("unsent", "unknown", "failed", "refused", "acknowledged")
_CODE = {name: code for code, name in enumerate(_COLUMN)}


def row_results(run: Run, plan: dict[str, Any], elsewhere: Collection[str]) -> list[np.ndarray]:
    """Return, for each batch, what became of each of its rows (a code each), however often it was sent.

    :param elsewhere: the names of attempts of which another run has booked what became of their rows.
    """
    results = nothing_sent(plan)
    for attempt in attempts_of(run).of_run(run.run_id):
        rows = results[attempt.key.batch - 1][attempt.start : attempt.stop]
        told = np.full(attempt.rows, _UNKNOWN, np.int8) if attempt.key.name in elsewhere else _told(run, attempt)
        # A word about the row itself outranks an end without one; between two words the later attempt's counts.
        heard = (told >= rows) | (told >= _REFUSED)
        rows[heard] = told[heard]
    return results


def nothing_sent(plan: dict[str, Any]) -> list[np.ndarray]:
    """Return the same of a run that has sent nothing."""
    return [np.full(batch["items"], _UNSENT, dtype=np.int8) for batch in plan["batch_list"]]


def sent_side(plan: dict[str, Any], results: list[np.ndarray]) -> dict[str, Counter[str]]:
    """Return by store how many rows of uploads were ``sent``, and what became of them."""
    lines: dict[str, Counter[str]] = {}
    for batch, rows in zip(plan["batch_list"], results, strict=True):
        for piece in batch["ranges"]:
            counts = np.bincount(rows[piece["start"] : piece["stop"]], minlength=len(_COLUMN))
            store = lines.setdefault(piece["store"], Counter())
            for column, number in zip(_COLUMN, counts, strict=True):
                store[column] += int(number)
            store["sent"] += int(counts.sum() - counts[_UNSENT])
    return lines


def archive_side(plan: dict[str, Any], results: list[np.ndarray]) -> dict[str, int]:
    """Return the books of archives, in SKUs; empty when the plan is one of an earlier version."""
    if "leaving" not in plan:
        return {}
    pairs = zip(plan["batch_list"], results, strict=True)
    ends = [skus for batch, skus in pairs if is_archive(batch)]
    counts = np.bincount(np.concatenate([np.array([], np.int8), *ends]), minlength=len(_COLUMN))
    line = dict(zip((*_COLUMN[:-1], "archived"), (int(number) for number in counts), strict=True))
    asked = sum(line[column] for column in books.ASKED_INTO)
    whole = {**plan["leaving"]["books"], **line, "asked": asked}
    return {column: whole[column] for column in books.ARCHIVES}


def _told(run: Run, attempt: Attempt) -> np.ndarray:
    ended = attempt.end
    if ended is State.REJECTED:
        return np.full(attempt.rows, _UNSENT, dtype=np.int8)
    key = run.key(f"outcomes/{attempt.key.name}.parquet")
    # What is not settled yet has no result: whoever settles it, later or another run, books it then.
    if attempt.state is State.SETTLED and run.lake.exists(key):
        outcomes = run.lake.get_frame(key)
        if "listed" in outcomes.columns:  # an archive: its SKU has a line for each store
            outcomes = outcomes.unique("position").sort("position")
        outcome = outcomes["outcome"]
        return outcome.replace_strict(_CODE, return_dtype=pl.Int8).to_numpy().copy()
    broken = ended in (State.FAILED, State.FATAL, State.CANCELLED)
    return np.full(attempt.rows, _FAILED if broken else _UNKNOWN, dtype=np.int8)
