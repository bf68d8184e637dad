"""A folder with source files, and reading them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import polars as pl
import pytest

from catalog_sync.settings import FileSourceSettings
from catalog_sync.sources.base import Source, Unreadable
from catalog_sync.sources.file import FileSource


@dataclass
class Read:
    """What a source gave."""

    rows: pl.DataFrame
    unreadable: list[Unreadable]
    source: Source

    def bad(self) -> dict[int, str]:
        """Why rows could not be read, by number."""
        return {row.row: row.reason for row in self.unreadable}


def read_source(source: Source) -> Read:
    """Read the source to its end."""
    frames = [pl.DataFrame(batch) for batch in source.batches()]
    return Read(pl.concat(frames, how="diagonal") if frames else pl.DataFrame(), source.unreadable, source)


def _no_aws() -> Any:
    raise AssertionError("asked for an AWS account")


Reader = Callable[..., Read]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Write a file with these bytes and read it as a file source: ``read(b"...", "items.csv", encoding=...)``."""

    def run(data: bytes | None, name: str = "items.csv", **settings: Any) -> Read:
        if data is not None:
            (tmp_path / name).write_bytes(data)
        kind = settings.pop("format", name.removesuffix(".gz").rpartition(".")[2])
        described = FileSourceSettings(
            name="erp", kind="file", path=settings.pop("path", name), format=kind, **settings
        )
        return read_source(FileSource(described, tmp_path, _no_aws))

    return run


def xlsx(path: Path, rows: list[list[object]], sheet: str = "Items") -> bytes:
    """Write the smallest workbook that spreadsheet programs would: numbers as numbers, texts inline, and return it."""

    def cell(value: object) -> str:
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        if isinstance(value, int | float):
            return f"<c><v>{value!r}</v></c>"
        return f'<c t="inlineStr"><is><t>{escape(str(value))}</t></is></c>' if value is not None else "<c/>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    data = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    relation = f'<Relationship Id="r1" Type="{office}/%s" Target="%s"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType='
        '"application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        + relation % ("officeDocument", "xl/workbook.xml")
        + "</Relationships>",
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="{sheet}" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + relation % ("worksheet", "worksheets/sheet1.xml")
        + "</Relationships>",
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{data}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path.read_bytes()


@pytest.fixture
def make_xlsx(tmp_path: Path) -> Callable[..., bytes]:
    """The bytes of a workbook of these rows."""
    return lambda rows, sheet="Items": xlsx(tmp_path / "made.xlsx", rows, sheet)
