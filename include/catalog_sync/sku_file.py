"""A file of SKUs: which rows a run is about, as a list that somebody made. It is read by the readers of file sources.

It is read once for each run and kept with it, so that a task cleared days later is about the same SKUs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.contract.policy import Policy
from catalog_sync.contract.steps import store_as_repaired as as_repaired
from catalog_sync.contract.text_rules import SKU_PATTERN, TEXT_MAX
from catalog_sync.errors import BadInput, Misconfigured, shorten
from catalog_sync.run import Kind
from catalog_sync.settings import FileSourceSettings
from catalog_sync.sources.base import FILE, ROW
from catalog_sync.sources.file import FileSource

if TYPE_CHECKING:
    from catalog_sync.run import Run

#: More SKUs than this are no list, but a catalog: name its stores instead.
MAX_SKUS = 2_000_000
#: A path in the lake begins with this.
IN_LAKE = "lake:"
_FORMATS = {".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".parquet": "parquet", ".xlsx": "xlsx"}


def skus_of_file(run: Run) -> pl.Series:
    """Return the distinct SKUs of the file that the run was started with, in their order.

    The SKUs stand in the column ``item_sku``, in that which the sources map to it, in ``sku``, or in the only one. A
    ``.txt`` file has one SKU in each line and needs no header.

    :raises BadInput: there is no such file, it cannot be read to its end, or it holds something else than SKUs.
    :raises Misconfigured: the path is one that a form may not name (see ``_place``).
    """
    manifest = run.lake.once(run.key("skus.json"), lambda: _read(run))
    return run.lake.get_frame(manifest["key"])["item_sku"]


def _read(run: Run) -> dict[str, Any]:
    path = run.options.skus_file
    suffixes = [suffix.lower() for suffix in Path(urlsplit(path).path).suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")
    if kind not in _FORMATS:
        raise BadInput(f"{_where(path)}: must end in {', '.join(_FORMATS)}, or in one of them and .gz")
    settings = FileSourceSettings.model_validate(
        {"name": "skus_file", "kind": "file", "path": _place(run, path), "format": _FORMATS[kind]}
    )
    source = FileSource(settings, run.settings.base, lambda: run.aws)
    found: list[pl.Series] = []
    for batch in source.batches():
        frame = pl.DataFrame(batch)
        column = _column(run, path, [name for name in frame.columns if name not in (ROW, FILE)])
        values = [frame[column].cast(pl.String)]
        if kind == ".txt" and not found and column not in _names(run):
            values.insert(0, pl.Series([column]))
        found = [_checked(run, path, pl.concat([*found, *(one.rename("item_sku") for one in values)]))]
    if source.unreadable:
        first = source.unreadable[0]
        raise BadInput(
            f"{_where(path)}: {len(source.unreadable):,} rows cannot be read, row {first.row} first: {first.reason}; "
            "nothing was read"
        )
    if not found or found[0].is_empty():
        raise BadInput(f"{_where(path)}: has no SKU")
    key = run.key(f"skus-{run.token()}.parquet")
    run.lake.put_frame(key, found[0].to_frame())
    return {"key": key, "file": path, "skus": len(found[0])}


def _place(run: Run, path: str) -> str:
    """Return where the file lies.

    Whoever types a command reads with rights of their own. A form is filled in by somebody who may not read the
    workers' disks and networks, so it may name only S3, the lake and the folder of the configuration.

    :raises Misconfigured: the form may not name it, or it is a pattern.
    """
    if any(sign in path for sign in "*?["):
        raise Misconfigured(f"{_where(path)}: must be one file, not a pattern")
    if path.startswith(IN_LAKE):
        path = run.lake.url(path.removeprefix(IN_LAKE).lstrip("/"))
    scheme = urlsplit(path).scheme
    if scheme == "s3" or run.options.kind is Kind.COMMAND:
        return path
    inside = [run.settings.base.resolve()]
    if "://" not in run.lake.uri:
        inside.append(Path(run.lake.uri).resolve())
    place = (run.settings.base / path.removeprefix("file://")).resolve()
    if scheme not in ("", "file") or not any(place.is_relative_to(folder) for folder in inside):
        raise Misconfigured(
            f"{_where(path)}: must be s3://…, {IN_LAKE}… (a path in the lake), or lie in the folder of the "
            "configuration. A command may name any file"
        )
    return str(place)


def _names(run: Run) -> list[str]:
    """Return what the column of SKUs may be called, the most telling name first."""
    mapped = [run.settings.mapping_of(source.name).get("item_sku") for source in run.settings.sources]
    return list(dict.fromkeys(["item_sku", *(name for name in mapped if isinstance(name, str)), "sku"]))


def _column(run: Run, path: str, columns: list[str]) -> str:
    for name in _names(run):
        for column in columns:
            if column.strip().lower() == name.lower():
                return column
    if len(columns) != 1:
        raise BadInput(
            f"{_where(path)}: none of its columns ({shorten(', '.join(columns), 200)}) is called "
            f"{' or '.join(_names(run))}, so that nothing tells which holds the SKUs"
        )
    return columns[0]


def _checked(run: Run, path: str, values: pl.Series) -> pl.Series:
    """Return the distinct SKUs as the contract will have repaired them."""
    pattern = Policy(run.settings.rules).pattern(Code.SKU_FORMAT, SKU_PATTERN)
    skus = values.to_frame().select(as_repaired(pl.col("item_sku"))).unique(maintain_order=True)
    skus = skus.filter((pl.col("item_sku") != "").fill_null(False))
    right = pl.col("item_sku").str.contains(f"^(?:{pattern})$") & (pl.col("item_sku").str.len_chars() <= TEXT_MAX)
    wrong = skus.filter(~right)["item_sku"]
    if len(wrong):
        raise BadInput(
            f"{_where(path)}: {shorten(wrong[0])!r} is no SKU: one must match {pattern}, at most {TEXT_MAX} "
            "characters. Is it the right file, and the right column? Nothing was read"
        )
    if len(skus) > MAX_SKUS:
        raise BadInput(f"{_where(path)}: has over {MAX_SKUS:,} SKUs; choose stores or departments instead")
    return skus["item_sku"]


def _where(path: str) -> str:
    return f"skus_file = {shorten(path, 200)!r}"
