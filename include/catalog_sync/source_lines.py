"""What a run repaired, rejected and warned of, as the owners of each source know it.

Rows of several sources are merged before they are judged, so a field's value may be another source's than the row's.
Each line goes to the source that gave the value, with the row there, and names the column as that source has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from catalog_sync.advice import ADVICE
from catalog_sync.contract.steps import store_as_repaired
from catalog_sync.fields import ADDITIONAL, ADDITIONAL_TEXT, KEY
from catalog_sync.keyed import within
from catalog_sync.run import Kind
from catalog_sync.settings import Expression, Settings

if TYPE_CHECKING:
    from catalog_sync.run import Run

REJECTED, WARNED, REPAIRED = "rejected", "warned", "repaired"
WHATS = (REJECTED, WARNED, REPAIRED)
#: Lines of a source that are kept one by one, rejected ones first; the counts are of all.
KEPT = 100_000
LINES = {
    **dict.fromkeys(("what", "code", "file"), pl.String()), "row": pl.Int64(),
    **dict.fromkeys(("store_id", "item_sku", "column", "before", "after", "message", "what_to_do"), pl.String()),
}  # fmt: skip
_ON = list(KEY)
_GIVER = {
    **dict.fromkeys((*KEY, "field"), pl.String()), "_rank": pl.Int64(), "_owner": pl.String(), "_row": pl.Int64(),
    "_file": pl.String(),
}  # fmt: skip


@dataclass
class Findings:
    """What was found in one source's rows.

    ``rows``: how many rows, by what and code; ``total``: by what, each row once; ``lines``: ``LINES``, the first
    ``KEPT`` of them.
    """

    total: Counter[str] = field(default_factory=Counter)
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    lines: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LINES))

    def add(self, lines: pl.DataFrame) -> None:
        """Take some more lines."""
        place = pl.struct("file", "row", *_ON).n_unique()
        for what, code, rows in lines.group_by("what", "code").agg(place).iter_rows():
            self.rows[what, code] = self.rows.get((what, code), 0) + rows
        # A row's lines come together, so none counts twice.
        self.total.update(dict(lines.group_by("what").agg(place).iter_rows()))
        rank = pl.col("what").replace_strict(dict(zip(WHATS, range(len(WHATS)), strict=True)), return_dtype=pl.Int8)
        self.lines = pl.concat([self.lines, lines]).sort(rank, maintain_order=True).head(KEPT)


def findings(run: Run) -> dict[str, Findings]:
    """Return what the run found, by source; sources whose extract failed are not in it, nor are any in a rollback."""
    if run.options.kind is Kind.ROLLBACK:
        return {}
    read = {
        source.name: run.lake.get_json(run.key(f"extract/{source.name}.json"))
        for source in run.settings.sources
        if run.lake.exists(run.key(f"extract/{source.name}.json"))
    }
    found = {name: Findings() for name in read}
    for name, manifest in read.items():
        if manifest["unreadable_key"]:
            unreadable = run.lake.get_frame(manifest["unreadable_key"]).with_columns(what=pl.lit(REJECTED))
            _hand_out(run.settings, found, _lines(unreadable.with_columns(owner=pl.lit(name))))
    for shard in _shards(run):
        for lines in _judged(run, shard):
            _hand_out(run.settings, found, _owned(run, read, shard["stores"], lines))
    return found


def column_of(settings: Settings, source: str, target: str) -> str:
    """Return how the source calls what becomes the target field: its column, or the expression that makes it."""
    known = target if target != ADDITIONAL else ADDITIONAL_TEXT
    rule = settings.mapping_of(source).get(known)
    if isinstance(rule, Expression):
        return f"expression: {rule.expression}"
    if rule is not None:
        return rule
    transform = settings.source(source).transform
    return f"({known}, made by {transform})" if transform else f"({known}, not in this source)"


def _shards(run: Run) -> list[dict[str, Any]]:
    """Return the shards that were prepared."""
    if not run.lake.exists(run.key("shards.json")):
        return []
    shards = run.lake.get_json(run.key("shards.json"))["shards"]
    return [shard for shard in shards if run.lake.exists(run.key(f"prepare/{shard['name']}.json"))]


def _judged(run: Run, shard: dict[str, Any]) -> Iterator[pl.DataFrame]:
    """Yield the frames of rejects, warnings and repairs of a shard, with ``what``."""
    manifest = run.lake.get_json(run.key(f"prepare/{shard['name']}.json"))
    for what, kind in zip(WHATS, ("rejects", "warnings", "repairs"), strict=True):
        for key in manifest[kind]:
            yield run.lake.get_frame(key).with_columns(what=pl.lit(what))


def _owned(run: Run, read: dict[str, Any], stores: list[str], found: pl.DataFrame) -> pl.DataFrame:
    """Return lines with their ``owner``, and row and file there: the source that gave the value, else the row's own."""
    lines = _lines(found.with_columns(owner=pl.col("source").str.split(":").list.first()))
    shared = [name for name in found["field"].unique() if _order(run.settings, name)]
    if not shared:
        return lines
    wanted = found.filter(pl.col("field").is_in(shared)).select(*_ON, "field").unique()
    parts = [part for name in read for part in _givers(run, read, name, stores, wanted)]
    givers = pl.concat(parts).sort("_rank", maintain_order=True).unique([*_ON, "field"], keep="first")
    joined = lines.join(givers, on=[*_ON, "field"], how="left", maintain_order="left")
    other = pl.col("_owner").is_not_null() & (pl.col("_owner") != pl.col("owner"))
    return joined.with_columns(
        pl.when(other).then(f"_{name}").otherwise(name).alias(name) for name in ("owner", "row", "file")
    ).drop("_rank", "_owner", "_row", "_file")


def _order(settings: Settings, target: str) -> list[str]:
    """Return the sources that may give the field, in its order of precedence; empty when only the row's own can.

    Store and SKU are the row's own; a barcode's type describes the barcode, and comes from where that comes from.
    """
    known = {ADDITIONAL: ADDITIONAL_TEXT, "external_product_id_type": "external_product_id"}.get(target, target)
    if known in KEY or len(settings.sources) == 1:
        return []
    order = dict.fromkeys((*settings.merge.fields.get(known, ()), *settings.merge.precedence))
    return [name for name in order if known in settings.mapping_of(name) or settings.source(name).transform]


def _givers(
    run: Run, read: dict[str, Any], name: str, stores: Iterable[str], wanted: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Yield, for each field that the source may give, the rows that have the wanted keys; the best have least rank."""
    fields = [one for one in wanted["field"].unique() if name in _order(run.settings, one)]
    rows = [_rows_of(run, part["key"], wanted) for part in read[name]["files"] if part["store"] in set(stores)]
    yield pl.DataFrame(schema=_GIVER)
    for one in fields if rows else ():
        known = ADDITIONAL_TEXT if one == ADDITIONAL else one
        rank = _order(run.settings, one).index(name)
        blank = pl.col(known).fill_null("").str.strip_chars() == ""
        yield pl.concat(rows).select(
            *_ON,
            field=pl.lit(one),
            _rank=pl.when(blank).then(rank + len(run.settings.sources)).otherwise(rank).cast(pl.Int64),
            _owner=pl.lit(name),
            _row=pl.col("source_row"),
            _file=_file(pl.col("source")),
        )


def _rows_of(run: Run, key: str, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return the extracted rows that have the wanted keys, as the contract will have repaired them."""
    rows = run.lake.get_frame(key)
    return within(rows.with_columns(store_as_repaired(pl.col(part)) for part in KEY), wanted)


def _lines(found: pl.DataFrame) -> pl.DataFrame:
    """Return what was found with the columns of a line, and ``owner`` and ``field``."""
    columns = dict(found.schema)
    before = pl.col("before") if "before" in columns else pl.col("value")
    empty = pl.lit(None, dtype=pl.String)
    advice = {code.value: text for code, text in ADVICE.items()}
    return found.select(
        "what",
        "code",
        file=_file(pl.col("source")),
        row=pl.col("source_row"),
        store_id="store_id",
        item_sku="item_sku",
        column=empty,
        before=before,
        after=pl.col("after") if "after" in columns else empty,
        message=pl.col("message") if "message" in columns else empty,
        what_to_do=pl.col("code").replace_strict(advice, default=None, return_dtype=pl.String),
        owner="owner",
        field=pl.col("field") if "field" in columns else empty,
    )


def _hand_out(settings: Settings, found: dict[str, Findings], lines: pl.DataFrame) -> None:
    """Give each source its lines, with its own names for the columns."""
    for (owner,), mine in lines.partition_by("owner", as_dict=True).items():
        if str(owner) not in found:  # a row that a transform says is from elsewhere
            continue
        names = {name: column_of(settings, str(owner), name) for name in mine["field"].unique().drop_nulls()}
        column = pl.col("field").replace_strict(names, default=None, return_dtype=pl.String)
        found[str(owner)].add(mine.with_columns(column=column).select(list(LINES)))


def _file(source: pl.Expr) -> pl.Expr:
    """Return the file's name in ``source:file``; empty without one."""
    return source.str.splitn(":", 2).struct.field("field_1").fill_null("")
