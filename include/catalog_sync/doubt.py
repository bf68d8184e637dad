"""Which rows are in doubt: their last attempt may still be applied by Amazon, or may have been, without our knowing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.archives import batch_keys, is_archive
from catalog_sync.attempts import Attempt, Attempts
from catalog_sync.diff import Action
from catalog_sync.fields import KEY
from catalog_sync.scope import Covered
from catalog_sync.tables import Tables

if TYPE_CHECKING:
    from catalog_sync.run import Run

_EMPTY = pl.DataFrame(
    schema={"store_id": pl.String, "item_sku": pl.String, "sent_at": pl.Float64, "archive": pl.Boolean}
)


def attempts_of(run: Run) -> Attempts:
    """Return the attempts of the run's retailer."""
    return Attempts(run.ledger, run.settings.retailer, run.settings.ledger.keep.total_seconds())


def doubtful_rows(run: Run, stores: Collection[str] | None = None) -> pl.DataFrame:
    """Return the rows in doubt, of all stores or some.

    :returns: ``store_id``, ``item_sku``, ``sent_at`` (the latest) and ``archive`` (whether an archive is among it).
    """
    return _rows(run, (attempt for attempt in attempts_of(run).open() if attempt.in_doubt), stores)


def planned_between(run: Run, after: int, before: int) -> list[str]:
    """Return the other runs whose plans have a number between ``after`` and ``before``.

    A further slice of a plan is none: the rows in it were read before that plan was made.
    """
    others = []
    for between in range(after + 1, before):
        made = run.ledger.get(f"PLANS#{run.settings.retailer}", f"{between:012d}")
        if not made or made["run_id"] == run.run_id or int(made.get("slice", 1)) > 1:
            continue
        if run.lake.exists(run.of(str(made["run_id"])).key("plan.json")):
            others.append(str(made["run_id"]))
    return others


def newer_readings(run: Run, others: Iterable[str]) -> dict[str, pl.Expr]:
    """Return those of the ``others`` that read a source after this run did, each with what it was about.

    Of a rollback, which reads what Amazon had, and a run that reads sources, the later one is that which began later.

    What such a run was about it has decided on newer rows, also where it found nothing to send: a task that is cleared
    days later must not send what was read then. A run that only releases held rows decides on none but those that it
    plans.
    """
    mine = _read_at(run)
    found = {}
    for other in map(run.of, others):
        theirs, options = _read_at(other), other.manifest["options"]
        if not options.get("release") and _is_later(theirs, mine):
            stores, rows = options["stores"], Covered(other).rows
            in_stores = pl.col("store_id").is_in(stores) if stores else pl.lit(True)
            about = in_stores if rows is None else _key().is_in(rows.select(_key()).to_series().implode())
            found[other.run_id] = about
    return found


def _is_later(theirs: dict[str, float], mine: dict[str, float]) -> bool:
    if not theirs or not mine:
        return False
    if shared := theirs.keys() & mine.keys():
        return any(theirs[source] >= mine[source] for source in shared)
    return min(theirs.values()) >= min(mine.values())


def _read_at(run: Run) -> dict[str, float]:
    """Return when the run has read each source (Unix seconds), of those that it has read."""
    keys = {source: run.key(f"extract/{source}.json") for source in run.sources}
    return {name: float(run.lake.get_json(key)["read_at"]) for name, key in keys.items() if run.lake.exists(key)}


def planned_rows(run: Run, run_id: str) -> pl.DataFrame:
    """Return ``store_id`` and ``item_sku`` of every row that the plan of the run ``run_id`` holds."""
    batches = run.of(run_id).plan["batch_list"]
    frames = (batch_keys(run, batch, 0, batch["items"]) for batch in batches)
    return pl.concat([_EMPTY.select(KEY), *frames])


@dataclass(frozen=True)
class BetterKnown:
    """What plans that were made after a run's own say of its rows.

    :param planned: ``KEY`` and ``_by``, the run that has planned the row.
    :param newer: what runs that read later were about.
    """

    run: Run
    planned: pl.DataFrame
    newer: dict[str, pl.Expr]

    def of(self, rows: pl.DataFrame) -> pl.Series:
        """Return for each of the planned ``rows`` why it must not be sent any more; null where it may.

        A row that would be sent again just as Amazon has it is no older than what another run has read: it differs
        from that only where the other run has planned the row, or must not touch it.
        """
        marked = rows.join(self.planned, on=list(KEY), how="left", maintain_order="left")
        # Side by side: an expression that held the one before it twice would double with each run.
        whys = [pl.when(pl.col("_by").is_not_null()).then(pl.format("run {} has planned them since", "_by"))]
        if self.newer:
            marked = marked.with_columns(_as_it_is=self._as_it_is(rows))
            whys += [
                pl.when(inside & ~pl.col("_as_it_is")).then(pl.lit(f"run {other} has read them later"))
                for other, inside in self.newer.items()
            ]
        return marked.select(pl.coalesce(whys)).to_series()

    def _as_it_is(self, rows: pl.DataFrame) -> pl.Series:
        """Tell for each row whether Amazon has it just so, for all that is known now."""
        content = [*KEY, "content_hash"]
        standing = Tables(self.run.lake).read(
            "acknowledged", rows["store_id"].unique(), [*content, "state"], skus=rows["item_sku"]
        )
        same = standing.filter(state="ACTIVE").select(*content, _same=pl.lit(True))
        joined = rows.select(*content, "action").join(same, on=content, how="left", maintain_order="left")
        return joined.select(pl.col("_same").fill_null(False) & (pl.col("action") == Action.RESENT)).to_series()


def better_known(run: Run, others: list[str]) -> BetterKnown:
    """Return what the ``others``, who made plans after the run's own, know better than it."""
    planned = pl.concat([planned_rows(run, other).with_columns(_by=pl.lit(other)) for other in others])
    return BetterKnown(run, planned.unique(KEY, keep="last"), newer_readings(run, others))


def _key() -> pl.Expr:
    return pl.concat_str(KEY, separator="\t")


def _rows(run: Run, attempts: Iterable[Attempt], stores: Collection[str] | None) -> pl.DataFrame:
    frames = [_EMPTY]
    plans: dict[str, list[dict[str, Any]]] = {}
    for attempt in attempts:
        run_id = attempt.key.run_id
        if run_id not in plans:
            plans[run_id] = run.of(run_id).plan["batch_list"]
        batch = plans[run_id][attempt.key.batch - 1]
        about = batch["stores"] if is_archive(batch) else [piece["store"] for piece in batch["ranges"]]
        if stores is not None and not set(about) & set(stores):
            continue
        keys = batch_keys(run, batch, attempt.start, attempt.stop)
        frames.append(keys.with_columns(sent_at=pl.lit(attempt.sent_at), archive=pl.lit(is_archive(batch))))
    rows = pl.concat(frames)
    if stores is not None:
        rows = rows.filter(pl.col("store_id").is_in(list(stores)))
    return rows.group_by(KEY).agg(pl.col("sent_at").max(), pl.col("archive").any())
