"""The configuration file and the list of stores."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.fuzz.conftest import RAN
from tests.unit.fuzz.strategies import JSON, TEXT, damaged, is_told_well

from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import Misconfigured
from catalog_sync.settings import Settings, load
from catalog_sync.stores import load_stores

ROOT = Path(__file__).resolve().parents[3]
WHOLE = (ROOT / "include/config/catalog.yaml").read_bytes()
PLAIN: dict[str, Any] = yaml.safe_load(WHOLE)
#: YAML that means more than it says, or that a reader of YAML stumbles over.
HOSTILE = [
    "&a [*a]",
    "&a {x: *a}",
    "&a {*a : 1}",
    "<<: *nowhere",
    "!!python/object/apply:os.system [echo]",
    "!!python/name:os.system",
    "!!timestamp x",
    "!!int ''",
    "!!int x",
    "!!float x",
    "!!bool x",
    "!!binary é",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a]",
    "!unknown x",
    "2026-99-99",
    "2026-11-20 99:99:99",
    "9" * 5000,
    "1:99:99",
    "0x",
    "0b",
    ".inf",
    ".nan",
    "? [a]\n: b",
    "? {a: b}\n: c",
    "\0",
    "\ufeff",
    "%YAML 9.9\n---\na",
    "a\n---\nb",
    "=",
    "~",
    "999999999999d",
    "9" * 400 + "d",
    "1e9999d",
    "-1s",
    "../../etc/passwd",
    "a: " * 2_000,
    "- " * 2_000,
    # Last, since what stands first is drawn more often: the reader takes a second to find that it is too deep.
    "[" * 2_000,
]
#: 9 to the power of 20, in a place where anything may stand.
LAUGH = "guards:\n  a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"  {chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


def loaded(text: bytes) -> Settings | None:
    """Load the bytes as a configuration; ``None`` when they are refused in the documented way."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "catalog.yaml"
        file.write_bytes(text)
        try:
            return load(file)
        except Misconfigured as error:
            is_told_well(error, 100_000)
            told = str(error)
    assert str(file) in told
    return None


@given(
    st.binary(max_size=60)
    | damaged(WHOLE)
    | (TEXT | st.sampled_from(HOSTILE)).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_file(data: bytes) -> None:
    """Settings or ``Misconfigured``, which names the file; nothing of the file is executed."""
    RAN["yaml files"] += 1
    loaded(data)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a document are."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in places(one, (*at, key)))]


def replaced(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    """The document with another value there."""
    if not at:
        return by
    copy = dict(value) if isinstance(value, Mapping) else list(value)
    copy[at[0]] = replaced(value[at[0]], at[1:], by)
    return copy


@given(st.sampled_from(places(PLAIN)), st.sampled_from(HOSTILE) | JSON)
def test_any_value_anywhere(at: tuple[Any, ...], value: Any) -> None:
    """A value of the wrong type, too large, too deep, or with a tag, at any place, is settings or ``Misconfigured``."""
    RAN["yaml values"] += 1
    if isinstance(value, str):
        marked = yaml.safe_dump(replaced(PLAIN, at, "PLACE"), default_flow_style=True, width=10**6)
        text = marked.replace("PLACE", value)
    else:
        text = yaml.safe_dump(replaced(PLAIN, at, value))
    loaded(text.encode("utf-8", "replace"))


@pytest.mark.parametrize("key", ["stores", "sources", "mapping", "rules", "retailer", "results", "whatever"])
def test_a_billion_laughs(key: str) -> None:
    """References to references are not written out, neither by reading nor by the error's text."""
    rest = {name: value for name, value in PLAIN.items() if name not in (key, "guards")}
    text = LAUGH + yaml.safe_dump(rest) + f"{key}: *u\n"
    assert loaded(text.encode()) is None


@given(st.binary(max_size=60) | damaged(b"store_id,name\nA,x\nB,y\n"))
def test_any_list_of_stores(data: bytes) -> None:
    """Every line below the header is a store, once and sorted, or the list is refused."""
    RAN["stores.csv"] += 1
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stores.csv").write_bytes(data)
        settings = Settings.model_validate({**PLAIN, "stores": {"file": "stores.csv"}, "base": folder})
        try:
            stores = load_stores(settings, EnvironmentConnections({}))
        except Misconfigured as error:
            is_told_well(error)
            return
    lines = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if row]
    assert len(stores) == len(lines) - 1
    assert sorted(set(stores)) == list(stores)
