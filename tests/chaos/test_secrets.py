"""I8 under every fault at once: what is logged, told, stored or asked of a person holds no secret."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import polars as pl
import pytest
from tests.chaos.play import play
from tests.chaos.player import Player
from tests.chaos.schedule import HOUR, Edit, Incident, Night, Schedule, Strike
from tests.e2e.planted import leaks

from catalog_sandbox.config import DEFAULT_SECRET
from catalog_sandbox.faults import FAULTS
from catalog_sync import reports

SECRETS = {"the secret key": DEFAULT_SECRET, "a report's signature": "X-Issued"}


def schedule() -> Schedule:
    """Nights in which each fault strikes, rows are held, released and refused, and processes die."""
    faults = [name for point in FAULTS.values() for name in point]
    some = (Edit("price", ("S1", "A")), Edit("price", ("S2", "C")))
    nights = [
        Night(some, (Strike(fault), Strike(fault, 2)), (Incident(30 + 9 * number),), ("malformed",), pause=5 * HOUR)
        for number, fault in enumerate(faults)
    ]
    asked = [
        Night((Edit("prices"),), junk=("not a state",)),
        Night(answer=(1, "mistyped"), pause=HOUR),
        Night(answer=(2, "approve"), refused=("B",)),
    ]
    return Schedule(3, (*nights, *asked), guarded=True, loaded=True)


@pytest.fixture(scope="module")
def written(fast_folder: Path) -> tuple[Player, Path, str]:
    """The schedule played once, where its lake lies, and all that was logged, of our own and of libraries."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter("%(name)s %(message)s").format(record))

    handler, ours, root = Keep(), logging.getLogger("catalog_sync"), logging.getLogger()
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        player = play(schedule(), fast_folder / "secrets")
    finally:
        root.removeHandler(handler)
        ours.setLevel(before)
    return player, fast_folder / "secrets" / "lake", "\n".join(lines)


def test_every_fault_has_struck(written: tuple[Player, Path, str]) -> None:
    """The search below is worth something: all that may be said of a fault was said."""
    player, _, logged = written
    struck = player.world.core.faults.injected
    assert {name for name, times in struck.items() if times} >= set(FAULTS["request"]) | set(FAULTS["report"])
    assert player.deaths > 10
    assert player.besides["row held"] >= 4
    assert len(logged) > 10_000


def test_nothing_that_was_said_holds_a_secret(written: tuple[Player, Path, str]) -> None:
    """Neither a log line, nor an error, nor books; a request body neither."""
    player, _, logged = written
    books = json.dumps([played.books for played in player.runs])
    for name, text in {"log": logged, "errors": "\n".join(player.story), "books": books}.items():
        assert leaks(name, text.encode(), SECRETS) == []


def test_nothing_that_is_kept_for_good_holds_a_link(written: tuple[Player, Path, str]) -> None:
    """The lake's manifests, tables and audit trail; and the ledger, once every report is archived."""
    player, lake, _ = written
    for path in sorted(lake.rglob("*")):
        if path.suffix == ".parquet":
            text = pl.read_parquet(path).write_json().encode()
        elif path.is_file() and path.suffix != ".zst":  # payloads and reports, as they went and came
            text = path.read_bytes()
        else:
            continue
        assert [leak for leak in leaks(str(path), text, SECRETS) if "a request body" not in leak] == []
    for key, item in player.world.table.items.items():
        assert leaks(str(key), json.dumps(item).encode(), SECRETS) == []


def test_a_link_that_is_told_would_be_found(fast_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a download names the whole link: the log of the collecting task then holds it."""

    def talkative(link: str, **_: object) -> bytes:
        raise reports.LinkExpired(f"{link}: has expired")

    monkeypatch.setattr(reports, "fetch", talkative)
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.extend(leaks("log", record.getMessage().encode(), SECRETS))

    handler = Keep()
    logging.getLogger("catalog_sync").addHandler(handler)
    try:
        with pytest.raises(AssertionError):
            play(Schedule(1, (Night(),)), fast_folder / "told")
    finally:
        logging.getLogger("catalog_sync").removeHandler(handler)
    assert found
