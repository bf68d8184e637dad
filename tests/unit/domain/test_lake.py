"""The lake: written once, read by whoever comes later, and clear about what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import PermissionDeniedError

from catalog_sync import lake as module
from catalog_sync.errors import BadInput, Misconfigured
from catalog_sync.lake import Lake


@pytest.fixture(params=["folder", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """A lake in a folder, and one in memory."""
    if request.param == "memory":
        return Lake.in_memory()
    return Lake.open("lake", lambda: pytest.fail("a folder needs no AWS account"), tmp_path)


def test_the_first_manifest_stands(lake: Lake) -> None:
    """Whoever comes later gets the first one's answer, even when both were at work at the same time."""

    def beaten() -> dict[str, int]:
        lake.put_json("m.json", {"first": 1})
        return {"second": 2}

    assert lake.once("m.json", beaten) == {"first": 1}
    assert lake.once("m.json", lambda: pytest.fail("it stands already")) == {"first": 1}


def test_create_does_not_overwrite(lake: Lake) -> None:
    """A conditional put tells whether it wrote."""
    assert (lake.create("a/b", b"1"), lake.create("a/b", b"2"), lake.get("a/b")) == (True, False, b"1")


def test_bytes_come_back_as_they_went(lake: Lake) -> None:
    """Compressed or not; and keys are listed by prefix."""
    lake.put_compressed("x/payload.zst", "Käse".encode() * 1000)
    assert lake.get_compressed("x/payload.zst") == "Käse".encode() * 1000
    assert list(lake.keys("x")) == ["x/payload.zst"]
    assert (lake.exists("x/payload.zst"), lake.exists("x/other")) == (True, False)


def test_an_absent_object_is_named(lake: Lake) -> None:
    """The whole address is in the message."""
    with pytest.raises(BadInput, match=r"runs/r1/plan\.json: there is no such object"):
        lake.get("runs/r1/plan.json")


@pytest.mark.parametrize("uri", ["s3://", "ftp://host/x", "gs://bucket/x"])
def test_other_places_are_refused(uri: str, tmp_path: Path) -> None:
    """The lake is S3 or a folder."""
    with pytest.raises(Misconfigured, match="must be s3://bucket/prefix or a folder"):
        Lake.open(uri, lambda: pytest.fail("not asked for"), tmp_path)


def test_a_refusal_by_s3_is_a_matter_of_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the object and the permissions that are needed; a retry cannot help."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise PermissionDeniedError("403")

    monkeypatch.setattr(module.obstore, "head", refuse)
    with pytest.raises(Misconfigured, match=r"runs/r1/run\.json: S3 refuses us.*s3:ListBucket"):
        Lake.in_memory().exists("runs/r1/run.json")
