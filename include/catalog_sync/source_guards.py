"""Guards on what was read: a source that is empty, has shrunk or is stale (invariant I5).

The rows of such a source are not wrong by themselves. What is wrong is what follows from them: where several sources
are merged, a key that the source no longer has falls back to another source's values and looks changed; a row is new in
a short source when the one that claims its barcode, or its key with another name, is among those that are missing; and
a stale source may put old values over newer ones. Those rows are held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.baseline import last_rows
from catalog_sync.contract.steps import store_as_repaired as as_repaired
from catalog_sync.diff import Action
from catalog_sync.fields import KEY
from catalog_sync.guards import Guard, too_many

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: What a source's guard holds: never a row that is sent again with the content that Amazon has.
_HELD = [Action.NEW.value, Action.CHANGED.value, Action.REACTIVATED.value]


def judge_sources(run: Run, manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return which sources are empty, short or stale: ``source``, ``code`` and ``message``, at most one each.

    A source that a person has accepted is not short; an empty one is nothing that can be accepted.

    :param manifests: what ``extract`` has left of each source.
    """
    found = []
    for manifest in manifests:
        name, rows = manifest["source"], int(manifest["read"])
        before = last_rows(run, name)
        limit = run.settings.guards.source
        fresh = run.settings.source(name).fresh_within
        age = manifest["read_at"] - manifest["modified_at"] if manifest["modified_at"] is not None else 0.0
        if rows == 0 and before:
            message = f"source {name} is empty; in the last complete run it had {before:,} rows"
            found.append({"source": name, "code": Guard.SOURCE_EMPTY.value, "message": message})
        elif too_many(before - rows, before, limit) and not run.options.accept_sources:
            message = (
                f"source {name} has {rows:,} rows, {100 * (before - rows) / before:.1f} % fewer than the {before:,} "
                f"of the last complete run; the limit is {limit.percent:g} %. If that is right, run backfill_catalog "
                "with 'accept sources'"
            )
            found.append({"source": name, "code": Guard.SOURCE_SHORT.value, "message": message})
        elif fresh is not None and age > fresh.total_seconds():
            message = (
                f"source {name} was last changed {age / 3600:.1f} hours before it was read; fresh_within is "
                f"{fresh.total_seconds() / 3600:g} hours"
            )
            found.append({"source": name, "code": Guard.SOURCE_STALE.value, "message": message})
    return found


def hold_for_sources(
    due: pl.DataFrame, frames: dict[str, pl.DataFrame], judged: list[dict[str, Any]], active: pl.DataFrame
) -> pl.DataFrame:
    """Return ``KEY`` and ``hold`` (a code) of the candidates that must wait for a better source.

    :param due: candidates with ``KEY`` and ``action``.
    :param frames: the rows as extracted, by source.
    :param judged: what ``judge_sources`` has found.
    :param active: the acknowledged rows of these stores that are active; a store without any loads for the first time.
    """
    rows = due.filter(pl.col("action").is_in(_HELD) & pl.col("store_id").is_in(active["store_id"].unique().implode()))
    held = [pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String), "hold": pl.String})]
    for one in judged:
        keys = frames[one["source"]].select(as_repaired(pl.col(part)).alias(part) for part in KEY).unique()
        here = rows.join(keys, on=list(KEY), how="semi")
        if one["code"] == Guard.SOURCE_STALE:
            touched = here
        else:
            gone = rows.join(keys, on=list(KEY), how="anti") if len(frames) > 1 else rows.clear()
            touched = pl.concat([gone, here.filter(pl.col("action") != Action.CHANGED)])
        held.append(touched.select(*KEY, hold=pl.lit(one["code"])))
    return pl.concat(held).unique(KEY, keep="first", maintain_order=True)
