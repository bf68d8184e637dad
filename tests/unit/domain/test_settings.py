"""The configuration: mistakes are named, and every key is documented."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from catalog_sync import notify_settings, settings
from catalog_sync.durations import parse_duration
from catalog_sync.errors import Misconfigured
from catalog_sync.settings_parts import Frozen

ROOT = Path(__file__).resolve().parents[3]
MINIMAL: dict[str, Any] = {
    "retailer": "acme",
    "stores": {"ids": ["A"]},
    "lake": "lake",
    "results": {"queue": "q", "topic_arn": "arn:aws:sns:us-east-1:1:t"},
    "sources": [{"name": "erp", "kind": "file", "path": "x.csv", "format": "csv"}],
    "mapping": {"item_sku": "sku", "store_id": "store"},
}


def load(folder: Path, **changes: Any) -> settings.Settings:
    """Write the minimal configuration with changes and load it."""
    file = folder / "catalog.yaml"
    file.write_text(yaml.safe_dump({**MINIMAL, **changes}), encoding="utf-8")
    return settings.load(file)


def test_the_minimal_file_is_enough(tmp_path: Path) -> None:
    """Everything else has a default, and the file's folder is the base of relative paths."""
    loaded = load(tmp_path)
    assert loaded.base == tmp_path
    assert (loaded.api.rate, loaded.api.max_items, loaded.results.horizon) == (10, 10_000, timedelta(hours=24))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retialer": "x"}, r"catalog\.yaml: retialer = 'x': is not a known key"),
        ({"api": {"rate": 11}}, r"api\.rate = 11: .*less than or equal to 10"),
        ({"api": {"max_items": 10_001}}, r"api\.max_items = 10001"),
        ({"schedule": {"at": "25:00"}}, r"schedule\.at = '25:00': .*HH:MM"),
        ({"schedule": {"timezone": "Mars/Olympus"}}, r"schedule\.timezone = 'Mars/Olympus': .*IANA"),
        ({"mapping": {"sku": "item_no"}}, r"mapping: unknown target\(s\) sku; known: item_sku"),
        ({"rules": {"NAME_LENGHT": {"max": 5}}}, r"rules: unknown rule\(s\) NAME_LENGHT; known: .*NAME_LENGTH"),
        (
            {"results": {**MINIMAL["results"], "poll_after": "15 minutes"}},
            r"results\.poll_after = '15 minutes': a duration",
        ),
        ({"results": {**MINIMAL["results"], "horizon": "3651d"}}, r"results\.horizon = '3651d': .* at most 3650d"),
        ({"results": {**MINIMAL["results"], "horizon": 9e8}}, r"results\.horizon = 900000000\.0: .* at most 3650d"),
        ({"alerts": {"late": -1}}, r"alerts\.late = -1: a duration is at least 0s"),
        ({"results": {**MINIMAL["results"], "horizon": "1h"}}, r"poll_after <= give_up_after <= horizon"),
        ({"stores": {}}, r"stores: give exactly one of"),
        ({"sources": []}, r"sources: .*at least 1"),
        ({"sources": [*MINIMAL["sources"], *MINIMAL["sources"]]}, r"the name 'erp' is used twice"),
        ({"mapping": {"store_id": "s"}}, r"source 'erp': its mapping has no item_sku"),
        ({"merge": {"precedence": ["pos"]}}, r"merge\.precedence: 'pos' is not a source"),
        ({"retailer": "a/b"}, r"retailer = 'a/b'"),
    ],
)
def test_a_mistake_names_file_key_value_and_rule(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Each mistake is one line that a person can act on."""
    with pytest.raises(Misconfigured, match=message):
        load(tmp_path, **changes)


@pytest.mark.parametrize("content", [b"", b"- a", b"\xff\xfe", b"a: [", b"a: !!python/object:os.system x"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, a list, the wrong encoding, broken YAML, and YAML that would build objects."""
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(Misconfigured, match=r"c\.yaml"):
        settings.load(tmp_path / "c.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path that was looked at is in the message."""
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml: cannot be read"):
        settings.load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("7d", 604800), ("250ms", 0.25), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    """A number with a unit, several in a row."""
    assert parse_duration(text) == timedelta(seconds=seconds)


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    named = [*vars(settings).values(), *vars(notify_settings).values()]
    known = [sub for sub in named if isinstance(sub, type) and issubclass(sub, BaseModel)]
    return [model, *known, *Frozen.__subclasses__()]


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_every_key_is_documented() -> None:
    """A setting that docs/configuration.md does not name in code quotes does not exist for its users."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    keys = {key for model in _models(settings.Settings) for key in _names(model)} - {"base"}
    missing = sorted(key for key in keys if not re.search(rf"`{key}`|`{key}:|{{{key}:", page))
    assert missing == []


@pytest.mark.parametrize(
    "text",
    [
        "retailer: 2026-99-99", "retailer: !!bool x", "retailer: !!timestamp x", "retailer: !!int ''",
        "retailer: " + "9" * 5000, "retailer: " + "[" * 2_000, "retailer: !!python/name:os.system",
    ],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_what_yaml_stumbles_over_is_a_mistake_like_others(tmp_path: Path, text: str) -> None:
    """Dates that are none, tags that do not fit, numbers and nesting without end: the file is named, nothing else."""
    file = tmp_path / "catalog.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured, match=r"catalog\.yaml: cannot be read as YAML: ."):
        settings.load(file)


@pytest.mark.parametrize("text", ["999999999999d", "9" * 400 + "d"])
def test_a_duration_without_end_is_a_mistake(tmp_path: Path, text: str) -> None:
    """The key and the rule are named."""
    with pytest.raises(Misconfigured, match=r"results\.poll_after.*more than 999999999 days"):
        load(tmp_path, results={**MINIMAL["results"], "poll_after": text})


def test_a_mistake_is_told_in_printable_text(tmp_path: Path) -> None:
    """A key of control characters, or of any length, does not reach the terminal as it is."""
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path, **{"\x1b[31m" + "x" * 1000: 1})
    assert (str(caught.value).isprintable(), len(str(caught.value)) < 600) == (True, True)
