"""The trials of ``docs/trials.md`` in a real Airflow, by form and question, on a retailer's real exports.

One engineer, ten days. The exports are not part of the checkout: skipped without them. ``SCREENSHOTS=FOLDER`` keeps
what the engineer saw there: pictures (with Debian's chromium), notes, and ``trials.md``, the table of the page.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.e2e.independent_record import lines
from tests.e2e.kill_stack import KillStack
from tests.e2e.test_release import Person, person_at
from tests.prove.test_trials import MAPPING, STORES, day, repriced, share, times

from catalog_airflow.web import PREFIX
from catalog_local.launcher import NIGHTLY
from catalog_sync.run import run_name

BACKFILL, ROLLBACK, QUESTION = "backfill_catalog", "rollback_catalog", "release_held_changes"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: The guards are those of the defaults; a night passes in minutes here.
CONFIG = {
    "stores": {"file": "stores.csv"},
    "api": {},
    "guards": {},
    "mapping": MAPPING,
    "archive": {"after": 3, "apart": "0s"},
}
Key = tuple[str, str]
#: Seconds for a run; it takes one to three minutes on two idle cores.
PATIENCE = 1200.0

pytestmark = [
    pytest.mark.prove,
    pytest.mark.timeout(7200),
    pytest.mark.enable_socket,
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@dataclass
class Trial:
    """What came of one run: its id in Airflow, its state there, its books, its note, and what Amazon was asked."""

    dag_id: str
    run_id: str
    state: str
    books: dict[str, Any]
    note: str
    requests: int

    @property
    def name(self) -> str:
        """The run's name in the lake."""
        return str(self.books["run_id"])

    @property
    def counts(self) -> dict[str, int]:
        """The columns of its books that are not zero."""
        return {column: rows for column, rows in self.books["total"].items() if rows}

    @property
    def archives(self) -> dict[str, int]:
        """The same of archives, in SKUs."""
        return {column: skus for column, skus in self.books["archives"].items() if skus}

    @property
    def guards(self) -> set[tuple[str, str]]:
        """What has tripped, and where."""
        return {(one["code"], one["store"]) for one in self.books["guards"]}


@dataclass
class Engineer:
    """Who does the trials: at Airflow's forms and questions, with the sandbox's record to compare with."""

    stack: KillStack
    person: Person
    seen: Window | None = None
    told: list[str] = field(default_factory=list)

    def stores(self, stores: tuple[str, ...]) -> None:
        """Configure the stores."""
        (self.stack.folder / "stores.csv").write_text("\n".join(["store_id", *stores, ""]), encoding="utf-8")

    def write(self, export: pl.DataFrame | bytes) -> None:
        """Let the source be this export."""
        new = self.stack.folder / "items.new"
        if isinstance(export, bytes):
            new.write_bytes(export)
        else:
            export.write_csv(new)
        new.replace(self.stack.folder / "items.csv")

    def night(self, export: pl.DataFrame | bytes, what: str = "") -> Trial:
        """Let a night pass on an export."""
        self.write(export)
        return self.run(NIGHTLY, what, reason=what or "a night")

    def run(self, dag_id: str, what: str, **form: Any) -> Trial:
        """Fill in a DAG's form, and wait for the end of its run."""
        before = self.requests()
        run_id = self.stack.deployment.rest.trigger(dag_id, {"reason": what, **form})
        return self.ended(dag_id, run_id, what, before)

    def ended(self, dag_id: str, run_id: str, what: str, before: int) -> Trial:
        """Wait for the end of a run, and return what came of it."""
        state = self.person.ended(dag_id, run_id, PATIENCE)
        prefix = "" if dag_id == NIGHTLY else f"{dag_id.removesuffix('_catalog')}__"
        folder = f"runs/{run_name(prefix + run_id)}"
        found = [self.stack.lake.json(f"{folder}/{name}.json") for name in ("books", "books-incomplete")]
        books = next((dict(made) for made in found if made), {"total": {}, "archives": {}, "guards": []})
        note = str(self.person.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["note"] or "")
        trial = Trial(dag_id, run_id, state, books, note, self.requests() - before)
        if what:
            self.tell(what, trial)
        return trial

    def requests(self) -> int:
        """How many uploads and archives Amazon has been asked for."""
        asked = lines(self.stack.sandbox_url, "/sandbox/requests")
        return sum(one["operation"] in ("upload", "archive") for one in asked)

    def approve(self, held: Trial, reason: str, dag_id: str = BACKFILL) -> Trial:
        """Answer the question about what a run holds, and return what the release came to."""
        before, digits = self.requests(), held.books["held"]["hash"][:12]
        question = self.answer(held, "Approve", reason, digits)
        return self.ended(dag_id, f"release__{question}", reason, before)

    def answer(self, held: Trial, option: str, reason: str, digits: str = "") -> str:
        """Answer the question about what a run holds, in the window if there is one; return the question's run."""
        question, _ = self.person.asked(held.run_id, PATIENCE)
        if self.seen:
            self.seen.answer(question, option, digits, reason)
            assert self.person.ended(QUESTION, question, PATIENCE) == "success"
        else:
            assert self.person.answer(question, option, hash=digits, reason=reason) == "success"
        return question

    def catalog(self) -> dict[Key, dict[str, Any]]:
        """Amazon's active items."""
        items = lines(self.stack.sandbox_url, "/sandbox/catalog")
        kept = {"item_name", "standard_price", "external_product_id", "product_category", "product_tax_code"}
        return {
            (item["store_id"], item["item_sku"]): {name: item.get(name) for name in kept}
            for item in items
            if item["state"] == "ACTIVE"
        }

    def plan(self, trial: Trial) -> str:
        """The plan as the engineer reads it."""
        return (self.stack.lake.get(f"runs/{trial.name}/plan.md") or b"").decode()

    def command(self, *words: str) -> str:
        """What a command of the project prints."""
        environment = {**self.stack.deployment.environment, "COLUMNS": "160"}
        command = [sys.executable, "-m", "catalog_sync", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout

    def tell(self, what: str, trial: Trial) -> None:
        """Note what was seen, for the table of the page."""
        codes = sorted({code for code, _ in trial.guards})
        counts = ", ".join(f"{rows:,} {column.replace('_', ' ')}" for column, rows in trial.counts.items())
        archives = ", ".join(f"{skus:,} {column}" for column, skus in trial.archives.items())
        books = f"{counts}{f'; archives: {archives}' if archives else ''}" or "none"
        self.told.append(f"| {what} | {trial.state} | {', '.join(codes) or '–'} | {trial.requests} | {books} |")
        if folder := os.environ.get("SCREENSHOTS"):
            stem = Path(folder) / f"{len(self.told):02d}"
            text = f"# {what}\n\n{trial.note}\n\n{self.command('books', trial.name) if 'run_id' in trial.books else ''}"
            stem.with_suffix(".md").write_text(text, encoding="utf-8")
            head = "| trial | run | guards | requests | books |\n|---|---|---|---|---|\n"
            (Path(folder) / "trials.md").write_text(head + "\n".join(self.told) + "\n", encoding="utf-8")
            if self.seen:
                self.seen.keep(f"{stem.name}-run", f"/dags/{trial.dag_id}/runs/{trial.run_id}")
                if "run_id" in trial.books:
                    self.seen.keep(f"{stem.name}-page", f"{PREFIX}/?run={trial.name}", "main:not([aria-busy])")


class Window:
    """A browser window at Airflow's UI, logged in."""

    def __init__(self, context: Any, base: str) -> None:
        self.page, self.base = context.new_page(), base

    def open(self, path: str, selector: str = "main, #root") -> None:
        """Open a page, and let it come to rest."""
        self.page.goto(f"{self.base}{path}")
        self.page.wait_for_selector(selector)
        self.page.wait_for_timeout(2500)

    def picture(self, name: str) -> None:
        """Keep a picture where pictures are wanted."""
        if folder := os.environ.get("SCREENSHOTS"):
            self.page.screenshot(path=f"{folder}/{name}.png")

    def keep(self, name: str, path: str, selector: str = "main, #root") -> None:
        """Open a page and keep its picture."""
        self.open(path, selector)
        self.picture(name)

    def answer(self, run_id: str, option: str, digits: str, reason: str) -> None:
        """Answer a question as a person does: read, fill in the form, press the button. A no needs no digits."""
        name = f"{option.lower()}-{run_name(run_id)}"
        self.open(f"/dags/{QUESTION}/runs/{run_id}/tasks/approve/required_actions", "#element_hash")
        self.picture(f"{name}-asked")
        if digits:
            self.page.fill("#element_hash", digits)
        self.page.fill("#element_reason", reason)
        self.page.get_by_test_id(f"hitl-option-{option}").click()
        self.page.wait_for_timeout(1000)
        self.picture(f"{name}-answered")


@contextmanager
def window(person: Person) -> Iterator[Window | None]:
    """A browser window, if the machine has a browser."""
    if CHROMIUM is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    base, token = str(person.http.base_url), person.http.headers["Authorization"].removeprefix("Bearer ")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1360, "height": 900})
        context.add_cookies([{"name": "_token", "value": token, "url": base}])
        yield Window(context, base)
        browser.close()


@pytest.fixture(scope="module")
def engineer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engineer]:
    """The engineer of a deployment that has loaded nothing yet; the trials follow each other, as days do."""
    day(1)
    folder = tmp_path_factory.mktemp("trials")
    (folder / "stores.csv").write_text("\n".join(["store_id", *STORES, ""]), encoding="utf-8")
    stack = KillStack.start(folder, CONFIG)
    try:
        with person_at(stack) as person, window(person) as seen:
            yield Engineer(stack, person, seen)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def first(engineer: Engineer) -> tuple[Trial, dict[Key, dict[str, Any]]]:
    """The first load of day 1, and what Amazon had after it."""
    return engineer.night(day(1), "day 1"), engineer.catalog()


Loaded = tuple[Trial, dict[Key, dict[str, Any]]]


def test_a_rollback_to_day_1_after_day_2(engineer: Engineer, first: Loaded) -> None:
    """What was there is as it was; what was in no store is archived once a person has said so; the rest is listed.

    The exports have no item that came to one store only, so day 2 brings one to LON-003.
    """
    loaded, before = first
    assert (loaded.state, loaded.counts["acknowledged"], loaded.guards) == ("success", len(before), set())
    new = next(sku for store, sku in sorted(before) if store == "CHI-007" and ("LON-003", sku) not in before)
    more = day(1).filter((pl.col("item_no") == new) & (pl.col("store_no") == "CHI-007"))
    second = engineer.night(pl.concat([day(2), more.with_columns(store_no=pl.lit("LON-003"))]), "day 2")
    assert (second.state, second.guards) == ("success", set())
    assert engineer.catalog() != before

    dry = engineer.run(ROLLBACK, "rollback to day 1, a dry run", to=loaded.run_id, dry_run=True)
    assert (dry.state, dry.requests) == ("success", 0)
    rolled = engineer.run(ROLLBACK, "rollback to day 1", to=loaded.run_id, dry_run=False)
    assert (rolled.state, set(rolled.books["held"]["by_code"])) == ("success", {"ROLLBACK_ARCHIVES"})
    released = engineer.approve(rolled, "those items were a mistake", ROLLBACK)
    assert (released.state, released.archives["archived"]) == ("success", released.archives["due"])

    after = engineer.catalog()
    assert {key: after.get(key) for key in before} == before
    left = set(after) - set(before)
    listed = [
        line
        for key in released.books["leaving"]["lists"]
        for line in csv.DictReader(io.StringIO((engineer.stack.lake.get(key) or b"").decode("utf-8-sig")))
    ]
    assert {(one["store_id"], one["item_sku"]) for one in listed if one["why"] == "left this store only"} == left
    assert ("LON-003", new) in left
    assert all(any((store, sku) in before for store in STORES) for _, sku in left)
    assert "did not have then, while other stores did" in engineer.plan(dry)


def test_a_backfill_of_one_store(engineer: Engineer, first: Loaded) -> None:
    """The dry run says how many rows; then these are sent, and Amazon has what it had."""
    engineer.write(day(1))
    before = engineer.catalog()
    form: dict[str, Any] = {"stores": ["PDX-001"], "resend": True}
    dry = engineer.run(BACKFILL, "backfill of PDX-001, a dry run", **form)
    assert (dry.state, dry.requests) == ("success", 0)
    sent = engineer.run(BACKFILL, "backfill of PDX-001", dry_run=False, **form)
    assert (sent.state, sent.counts["acknowledged"]) == ("success", dry.counts["planned"])
    assert {store for store, line in sent.books["stores"].items() if line["sent"]} == {"PDX-001"}
    assert engineer.catalog() == before


def test_an_item_that_left_every_store_is_archived_after_three_nights(engineer: Engineer, first: Loaded) -> None:
    """Two nights count, the third archives; everything else stays."""
    before = engineer.catalog()
    gone = sorted({sku for _, sku in first[1]})[:3]
    rows = day(1).filter(~pl.col("item_no").is_in(gone))
    for number in (1, 2):
        trial = engineer.night(rows, f"3 items left every store, night {number}")
        assert (trial.state, trial.requests, trial.archives) == ("success", 0, {})
        assert trial.books["leaving"]["waiting"] == {str(number): 3}
    trial = engineer.night(rows, "3 items left every store, night 3")
    assert (trial.state, trial.archives) == ("success", {"due": 3, "planned": 3, "asked": 3, "archived": 3})
    assert engineer.catalog() == {key: item for key, item in before.items() if key[1] not in gone}
    back = engineer.night(day(1), "the 3 items are back")
    assert (back.state, engineer.catalog()) == ("success", before)
    assert "unbroken" in engineer.command("audit")


def test_a_source_that_lost_40_percent_of_its_rows(engineer: Engineer, first: Loaded) -> None:
    """Nothing is sent and nothing removed."""
    _, before = first
    trial = engineer.night(day(1).filter(~share(day(1), 40)), "40 % of the rows are missing")
    assert (trial.state, trial.requests, trial.guards) == ("success", 0, {("SOURCE_SHORT", "")})
    assert "fewer than the" in trial.note
    assert before.items() <= engineer.catalog().items()


def test_all_prices_times_a_hundred(engineer: Engineer, first: Loaded) -> None:
    """Every row is held, and a person's no leaves it so."""
    _, before = first
    trial = engineer.night(day(1).with_columns(retail=times(100)), "all prices × 100")
    assert (trial.state, trial.requests, trial.counts["held"]) == ("success", 0, len(before))
    assert {("GUARD_PRICES", store) for store in ("", *STORES)} <= trial.guards
    engineer.answer(trial, "Reject", "cents taken for dollars")
    trail = engineer.command("audit", "--json")
    assert "cents taken for dollars" in trail
    assert before.items() <= engineer.catalog().items()


def test_an_empty_file(engineer: Engineer, first: Loaded) -> None:
    """A header alone is told, a file without anything fails the run, and neither removes anything."""
    _, before = first
    trial = engineer.night(day(1).head(0), "a file with a header only")
    assert (trial.state, trial.requests) == ("success", 0)
    assert trial.guards == {("SOURCE_EMPTY", ""), *(("STORE_EMPTY", store) for store in STORES)}
    trial = engineer.night(b"", "a file without anything")
    assert (trial.state, trial.requests) == ("failed", 0)
    assert before.items() <= engineer.catalog().items()


def test_a_store_left_the_source(engineer: Engineer, first: Loaded) -> None:
    """What Amazon has of it stays."""
    _, before = first
    trial = engineer.night(day(1).filter(pl.col("store_no") != "NYC-014"), "NYC-014 left the source")
    assert (trial.state, trial.requests, trial.guards) == ("success", 0, {("STORE_EMPTY", "NYC-014")})
    assert before.items() <= engineer.catalog().items()


def test_a_store_left_the_configuration(engineer: Engineer, first: Loaded) -> None:
    """Its rows are rejected and its items stay; the other stores' changes go on."""
    _, before = first
    engineer.stores(tuple(store for store in STORES if store != "LON-003"))
    trial = engineer.night(repriced(day(1), 1, 1.1), "LON-003 left the configuration; 1 % of the prices × 1.1")
    engineer.stores(STORES)
    assert (trial.state, trial.guards) == ("success", {("STORE_CLOSED", "LON-003")})
    after = engineer.catalog()
    changed = {key for key in before if after[key] != before[key]}
    assert 0 < len(changed) == trial.counts["acknowledged"]
    assert "LON-003" not in {store for store, _ in changed}
    assert engineer.night(day(1), "LON-003 is back, and so are the prices").state == "success"
    assert before.items() <= engineer.catalog().items()


def test_a_repricing_of_30_percent_is_approved_by_hand(engineer: Engineer, first: Loaded) -> None:
    """It is held until the engineer says so in Airflow's UI, and then exactly that is sent."""
    _, before = first
    trial = engineer.night(repriced(day(1), 30, 1.3), "30 % of the prices × 1.3")
    assert (trial.state, trial.requests) == ("success", 0)
    assert trial.guards == {("GUARD_CHANGED", store) for store in ("", *STORES)}
    released = engineer.approve(trial, "the new price list")
    assert (released.state, released.counts["acknowledged"]) == ("success", trial.counts["held"])
    after = engineer.catalog()
    assert sum(after[key] != before[key] for key in before) == trial.counts["held"]
