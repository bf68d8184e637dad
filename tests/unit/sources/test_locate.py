"""Which files a path names, and what may go wrong with them."""

from __future__ import annotations

import os

import fsspec
import pytest

from catalog_sync.errors import BadInput, Misconfigured, RetryLater
from catalog_sync.settings import FileSourceSettings
from catalog_sync.sources.base import FILE, ROW
from catalog_sync.sources.file import FileSource
from catalog_sync.sources.locate import locate


def described(path: str) -> FileSourceSettings:
    """A CSV source at that path."""
    return FileSourceSettings(name="erp", kind="file", path=path, format="csv")


def test_a_pattern_reads_every_file_in_order(read, tmp_path) -> None:
    """Files are read by name; each row tells its file and its number in it; the oldest file gives the source's age."""
    for name, day in (("b.csv", 2), ("a.csv", 1), ("c.csv", 3)):
        (tmp_path / name).write_text(f"sku\n{name}-1\n{name}-2\n")
        os.utime(tmp_path / name, (1_000_000 * day, 1_000_000 * day))
    (tmp_path / "d.txt").write_text("not this one")
    got = read(None, path="*.csv", format="csv")
    assert got.rows.select(FILE, ROW, "sku").rows() == [(f"{n}.csv", k, f"{n}.csv-{k}") for n in "abc" for k in (1, 2)]
    assert got.source.modified_at == 1_000_000


@pytest.mark.parametrize("path", ["*.csv", "none.csv", "sub/*.csv", "memory://nothing/*.csv", "memory://nothing/a.csv"])
def test_no_file_is_an_error(read, path) -> None:
    """A source that is not there is never taken for an empty one."""
    with pytest.raises(BadInput, match=r"no file matches|there is no such file"):
        read(None, path=path, format="csv")


def test_a_folder_is_no_file(read, tmp_path) -> None:
    """A path that names a folder is an error, and a pattern passes over folders."""
    (tmp_path / "items.csv").mkdir()
    with pytest.raises(BadInput, match=r"items\.csv: there is no such file"):
        read(None, path="items.csv", format="csv")
    with pytest.raises(BadInput, match="no file matches"):
        read(None, path="*.csv", format="csv")


def test_names_with_signs_of_patterns(read) -> None:
    """A file whose name holds a bracket is found by its own name."""
    assert read(b"sku\n1\n", "items[1].csv").rows["sku"].to_list() == ["1"]


def test_a_folder_with_signs_of_patterns(tmp_path) -> None:
    """The configuration's folder is no pattern."""
    base = tmp_path / "a[b]"
    base.mkdir()
    (base / "x.csv").write_text("sku\n1\n")
    assert [found.name for found in locate("*.csv", base, pytest.fail)] == ["x.csv"]


def test_any_fsspec_path(read) -> None:
    """What fsspec knows can be read, with its time of change."""
    with fsspec.open("memory://drop/items.csv", "wb") as file:
        file.write(b"sku\n012\n")
    got = read(None, path="memory://drop/*.csv", format="csv")
    assert got.rows["sku"].to_list() == ["012"]
    assert got.source.modified_at is not None


def test_an_unknown_scheme_is_a_mistake(read) -> None:
    """A scheme that nothing installed serves is an error of the configuration."""
    with pytest.raises(Misconfigured, match="nosuch://host/x"):
        read(None, path="nosuch://host/x", format="csv")


def test_a_path_holds_no_secret(read) -> None:
    """A password in a path is refused, and not shown."""
    with pytest.raises(Misconfigured) as caught:
        read(None, path="ftp://user:hunter2@host/x.csv", format="csv")
    assert "hunter2" not in str(caught.value)


def test_a_file_that_changes_while_it_is_read_is_not_used(tmp_path) -> None:
    """Somebody who still writes it would leave us with half of it."""
    file = tmp_path / "items.csv"
    file.write_bytes(b"sku\n" + b"".join(b"%d\n" % n for n in range(60_000)))
    batches = FileSource(described("items.csv"), tmp_path, pytest.fail).batches()
    next(batches)
    with file.open("ab") as more:
        more.write(b"60001\n")
    with pytest.raises(RetryLater, match=r"items\.csv: was changed while it was read"):
        list(batches)


class Broken:
    """A place whose reader fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        """Fail."""
        raise self.error

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermissionError("no"), BadInput), (FileNotFoundError("gone"), BadInput), (TimeoutError("slow"), RetryLater)],
)
def test_failures_while_reading(tmp_path, monkeypatch, error, expected) -> None:
    """What a retry can cure is told from what it cannot."""
    from catalog_sync.sources import file as module
    from catalog_sync.sources.locate import Found

    monkeypatch.setattr(module, "locate", lambda *_: [Found("x.csv", None, lambda: Broken(error))])
    with pytest.raises(expected, match=r"x\.csv: cannot be read"):
        list(FileSource(described("x.csv"), tmp_path, pytest.fail).batches())
