"""Checking a file before it matters: what the contract would reject, repair or warn of, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import TypeAdapter

from catalog_sync.advice import ADVICE
from catalog_sync.clock import SystemClock
from catalog_sync.connections import Connections, EnvironmentConnections
from catalog_sync.contract.apply import ContractResult, apply_contract
from catalog_sync.contract.codes import Code
from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.extract import mapped_batches, unreadable_rows
from catalog_sync.fields import KEY, REQUIRED, TARGETS
from catalog_sync.settings import FileSourceSettings, Settings, SourceSettings
from catalog_sync.sources import open_source
from catalog_sync.sources.base import Source
from catalog_sync.stores import load_stores

if TYPE_CHECKING:
    from rich.console import Console

#: Samples kept of each code and what was done about it.
SAMPLES = 5
_FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".xlsx": "xlsx",
}  # fmt: skip
#: What stands for a field that another source may give, while this source is checked alone; it passes every check.
#: Six digits are a PLU, hardly any real one has as many, and a store's million rows have each their own.
_STAND_INS = {
    "item_name": pl.lit("x"),
    "external_product_id": (pl.int_range(pl.len()) % 1_000_000).cast(pl.String).str.zfill(6),
}


@dataclass(frozen=True)
class Sample:
    """One row that broke a rule. ``after`` is what a repair made of ``value``."""

    row: int | None
    file: str
    store_id: str | None
    item_sku: str | None
    field: str | None
    value: str | None
    message: str
    after: str | None = None


@dataclass(frozen=True)
class Finding:
    """One rule that rows broke: how many ``rows``, ``what`` became of them, what to do, and the first few."""

    code: str
    what: str
    rows: int
    advice: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class CheckResult:
    """What is wrong with a file.

    ``read = accepted + rejected + collapsed``, in rows; the transform's drops and additions are not in ``read``.
    ``elsewhere``: required fields that another source may give; where this one has none, nothing is missing yet.
    """

    path: str
    source: str
    read: int
    accepted: int
    rejected: int
    collapsed: int
    repaired: int
    findings: tuple[Finding, ...]
    elsewhere: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no row would be rejected."""
        return self.rejected == 0

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def render(self, console: Console) -> None:
        """Print the result for a person."""
        from catalog_sync.check_view import render

        render(self, console)


def check_file(
    path: str | Path, settings: Settings, source: str | None = None, connections: Connections | None = None
) -> CheckResult:
    """Hold the rows of a file to the contract as a run would, and return what is wrong with them.

    Nothing is sent or written. What other sources would add, and what Amazon has acknowledged, is not known here.

    :param path: a file, a glob pattern, ``s3://`` or any fsspec path; gzip or not. The format is that of its name's
        ending, else that of the source.
    :param source: the source whose mapping and transform apply; by default the only file source.
    :param connections: where a list of stores in a database, and ``s3://`` paths, get their credentials.
    :raises Misconfigured: there is no such source, or none was named and it cannot be told, or the format cannot.
    :raises BadInput: the file cannot be read, or does not fit the mapping.
    """
    connections = connections or EnvironmentConnections()
    chosen = _as_file(str(path), _chosen(settings, source))
    mapping = settings.mapping_of(chosen.name)
    elsewhere = _elsewhere(settings, chosen.name)
    stores = load_stores(settings, connections)
    reader = open_source(
        chosen,
        connections,
        Path.cwd(),
        SystemClock(),
        lambda: connections.aws(chosen.conn_id or settings.aws.conn_id, settings.aws.region),
    )
    rows = _read(reader, [frame for _, frame in mapped_batches(reader, chosen, mapping)])
    rows = rows.with_columns(
        pl.when(pl.col(field).fill_null("").str.strip_chars() != "")
        .then(pl.col(field))
        .otherwise(_STAND_INS[field])
        .alias(field)
        for field in elsewhere
    )
    result = apply_contract(rows, rules=settings.rules, stores=stores)
    unreadable = unreadable_rows(chosen.name, reader.unreadable)
    return CheckResult(
        path=str(path),
        source=chosen.name,
        read=len(rows) + len(unreadable),
        accepted=len(result.accepted),
        rejected=result.rejects["row_id"].n_unique() + len(unreadable),
        collapsed=int(result.collapsed["rows"].sum()),
        repaired=int(result.counts["repaired"].sum()) if len(result.counts) else 0,
        findings=tuple(_findings(result, unreadable)),
        elsewhere=elsewhere,
    )


def _chosen(settings: Settings, name: str | None) -> SourceSettings:
    if name:
        return settings.source(name)
    files = [source for source in settings.sources if isinstance(source, FileSourceSettings)]
    if len(files) != 1:
        names = ", ".join(source.name for source in settings.sources)
        raise Misconfigured(f"name the source whose mapping applies to the file, with --source; sources: {names}")
    return files[0]


def _as_file(path: str, source: SourceSettings) -> FileSourceSettings:
    """Return the source as one that reads the file instead of what it reads every night."""
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    given = source if isinstance(source, FileSourceSettings) else None
    kind = _FORMATS.get(suffix) or (given.format if given else None)
    if kind is None:
        raise Misconfigured(
            f"{shorten(path, 200)}: the format cannot be told from the name; it must end in {', '.join(_FORMATS)} "
            "(or one of these and .gz)"
        )
    raw = {"name": source.name, "kind": "file", "path": path, "format": kind, "transform": source.transform}
    if given:
        raw |= {"encoding": given.encoding, "sheet": given.sheet, "conn_id": given.conn_id}
        raw |= {"delimiter": given.delimiter} if given.format == kind else {}
    return TypeAdapter(FileSourceSettings).validate_python(raw)


def _elsewhere(settings: Settings, name: str) -> tuple[str, ...]:
    """Return the required fields, beside the key, that other sources have."""
    others = {target for other in settings.sources if other.name != name for target in settings.mapping_of(other.name)}
    return tuple(field for field in REQUIRED if field not in KEY and field in others)


def _read(reader: Source, frames: list[pl.DataFrame]) -> pl.DataFrame:
    schema = {**dict.fromkeys(TARGETS, pl.String()), "source": pl.String(), "source_row": pl.Int64()}
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _findings(result: ContractResult, unreadable: pl.DataFrame) -> Iterator[Finding]:
    repairs = result.repairs.rename({"before": "value"}).with_columns(message=pl.lit(""))
    rows, place = pl.col("row_id").n_unique(), pl.struct("source", "source_row").n_unique()
    for what, frame, number in (
        ("rejected", pl.concat([unreadable, result.rejects]), rows),
        ("warned", result.warnings, rows),
        ("repaired", repairs, place),
    ):
        counted = frame.group_by("code").agg(rows=number).sort("rows", "code", descending=[True, False])
        for code, count in counted.iter_rows():
            samples = frame.filter(pl.col("code") == code).head(SAMPLES)
            yield Finding(code, what, count, ADVICE[Code(code)], tuple(map(_sample, samples.iter_rows(named=True))))


def _sample(line: dict[str, Any]) -> Sample:
    return Sample(
        row=line["source_row"],
        file=str(line["source"]).partition(":")[2],
        store_id=line["store_id"],
        item_sku=line["item_sku"],
        field=line["field"],
        value=line["value"],
        message=line["message"],
        after=line.get("after"),
    )
