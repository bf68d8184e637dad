"""The Catalog page in a browser, inside Airflow's own UI: every view, both themes, the keyboard, and axe's rules.

Chromium as the machine has it (Debian: ``apt-get install chromium``), headless. ``SCREENSHOTS=FOLDER`` keeps pictures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.e2e.test_make_run import free_ports
from tests.integration.conftest import STORES, Deployment, Services, row, services

from catalog_airflow.links import CatalogPageLink
from catalog_airflow.web import PREFIX, deployment
from catalog_local.airflow import migrate
from catalog_sync.alerts.evaluate import after_run, hourly, run_failed, run_late, run_succeeded
from catalog_sync.connections import EnvironmentConnections
from catalog_sync.dead_letters import DeadLetterQueue
from catalog_sync.run import Options, Run, run_name
from catalog_sync.sync import make_plan, sync
from catalog_sync.upload import upload

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.prove,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
__all__ = ["services"]

ROOT = Path(__file__).resolve().parents[2]
SEA, PDX = "SEA-001", "PDX-001"
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
DAG, RUN = "nightly_catalog_sync", "manual__2026-11-20T02:30:00+00:00"
VIEWS = ("tonight", "runs", "refused", "stuck", "sku")
#: What is looked at beside the views themselves: name → its address.
LOOKS = {
    **{view: f"?view={view}" for view in VIEWS},
    "tonight": f"?view=tonight&run={run_name(RUN)}",
    "live": "?view=tonight",
    "sku": f"?view=sku&sku=SKU-3&store={PDX}",
    "leaving": "?view=sku&sku=SKU-13",
    "unknown": "?view=sku&sku=NO-SUCH-SKU",
    "asking": "?view=sku",
    "runbook": "?view=runbook&page=rows-held.md",
}
NIGHTS = 6


def nights(made: Deployment) -> None:
    """Nights with rejects, refusals and archives, the last with held rows; then what hangs, dead letters and alerts."""
    rows = [row(n, store) for n in range(14) for store in STORES]
    made.raw["api"] = {"timeout": "5s", "max_items": 10}
    made.raw["results"]["expect"] = "0s"
    made.raw["archive"] = {"after": 2, "apart": "0s"}
    bad = [
        row(100 + n, descr=SCRIPT if n == 0 else f"Item {n}", gtin="012345678901" if n % 2 else "12x45")
        for n in range(4 * NIGHTS)
    ]
    for number in range(NIGHTS):
        made.faults(refuse_skus=[f"SKU-{n}" for n in range(1 + number % 3)], planogram=["SKU-13"])
        if number == NIGHTS - 2:
            rows = [one for one in rows if one["item_no"] not in ("SKU-12", "SKU-13")]
        made.sync(f"n{number}", [*rows, *bad[: 4 * (number + 1)]], options=Options())
    made.raw["guards"] = {"store": {"changed": {"percent": 20, "min_rows": 1}}}
    changed = [{**one, "descr": "New"} if one["store_no"] == PDX else one for one in rows if one["item_no"] != "SKU-11"]
    made.write([*changed, *bad, *(row(200 + n, SEA) for n in range(25))])
    options = Options(origin=f"{DAG}/{RUN}", by="admin", reason="by hand")
    last = Run.open(made.settings(), EnvironmentConnections(made.environ), run_name(RUN), options)
    run_late(last, DAG, time.time() - 4 * 3600)
    after_run(last, sync(last))
    run_succeeded(last, DAG)
    made.faults(script=[{"fault": "stuck"}])
    staying = [one for one in changed if one["item_no"] != "SKU-9"]
    made.write([*staying, *bad, *(row(300 + n, SEA) for n in range(5))])
    hangs = made.open("stuck", Options())
    make_plan(hangs, lambda step, counts: None)
    upload(hangs, [1])
    sqs = hangs.aws.client("sqs")
    queue = sqs.get_queue_url(QueueName=hangs.settings.results.queue)["QueueUrl"]
    dead = DeadLetterQueue.of(sqs, queue)
    assert dead is not None
    sqs.send_message(QueueUrl=dead.url, MessageBody="{}")
    run_failed(hangs, DAG, "the DAG's time limit has passed")
    hourly(hangs)


class Site:
    """Airflow's API server over a deployment, and a browser that is logged in."""

    def __init__(self, made: Deployment, url: str, token: str, browser: Any) -> None:
        self.deployment, self.url, self.token, self.browser = made, url, token, browser

    def context(self, scheme: str = "light", **options: Any) -> Any:
        """A logged-in browser window."""
        context = self.browser.new_context(color_scheme=scheme, viewport={"width": 1360, "height": 900}, **options)
        context.add_cookies([{"name": "_token", "value": self.token, "url": self.url}])
        return context


@pytest.fixture(scope="module")
def site(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The API server as Airflow builds it, on a port of its own; no scheduler is needed to look."""
    import uvicorn
    from playwright.sync_api import sync_playwright

    migrate(os.environ)
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    made = Deployment(services, tmp_path_factory.mktemp("browser"))
    nights(made)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environ.items():
            patch.setenv(name, value)
        patch.setenv("CATALOG_CONFIG", str(made.folder / "catalog.yaml"))
        deployment.forget()
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        [port] = free_ports(1)
        server = uvicorn.Server(uvicorn.Config(create_app(), host="127.0.0.1", port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.1)
        token = str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="admin", role="ADMIN")))
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            yield Site(made, f"http://127.0.0.1:{port}", token, browser)
            browser.close()
        server.should_exit = True
        thread.join(30)
        deployment.forget()


@pytest.fixture
def window(site: Site) -> Iterator[Any]:
    """A browser tab in which any error of a script, and any text that became a script, fails the test."""
    context = site.context()
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    yield page
    context.close()
    assert wrong == []


def show(page: Any, site: Site, query: str = "") -> Any:
    """Open the page by itself and wait until its view is there."""
    page.goto(f"{site.url}{PREFIX}/{query}")
    page.wait_for_selector("main:not([aria-busy])")
    assert not {"null", "undefined", "NaN"} & set(page.inner_text("main").replace("null", " null ").split())
    return page


def keep(page: Any, name: str) -> None:
    """Keep a picture where pictures are wanted."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_tonight_says_what_happened(site: Site, window: Any) -> None:
    """State, counts, batches, charts, stores."""
    page = show(window, site, f"?run={run_name(RUN)}")
    assert "Complete" in page.text_content("h2.state")
    assert "10 rows held" in page.text_content("main")
    assert page.locator("canvas").count() == 2
    assert page.locator("table").filter(has_text="PDX-001").get_by_text("Rows held").count() == 1
    page.get_by_text("Uploads and reports, one by one").click()
    page.wait_for_selector("text=Amazon said")
    with page.expect_download() as caught:
        page.get_by_text("Rejected and refused rows (CSV)").click()
    assert SCRIPT[:20] not in Path(caught.value.path()).read_text("utf-8-sig").splitlines()[0]


def test_a_running_night_is_live(site: Site, window: Any) -> None:
    """The newest run hangs at Amazon: the page says that it runs, and asks again by itself."""
    page = show(window, site)
    assert "Running" in page.text_content("h2.state")
    assert "live" in page.text_content("#fresh")
    with page.expect_response("**/data/run*", timeout=20_000):
        pass


def test_alerts_stand_first_and_lead_to_what_to_do(site: Site, window: Any) -> None:
    """Critical ones first, with since when; the runbook opens in the page; what is over is folded away."""
    page = show(window, site)
    alerts = page.locator("main > section").first.locator(".note")
    assert "Critical: A run failed" in alerts.first.text_content()
    assert "ago)" in alerts.first.text_content()
    text = page.text_content("main > section")
    for told in ("UPLOADS_STUCK", "DEAD_LETTERS", "ROWS_HELD"):
        assert told in text
    page.get_by_text("1 alert over in the last 7 days").click()
    assert page.get_by_role("rowheader", name=f"A run is late ({DAG})").count() == 1
    alerts.filter(has_text="ROWS_HELD").get_by_role("link", name="What to do").click()
    page.wait_for_selector("article h2")
    assert page.text_content("article h2") == "Rows held"
    page.get_by_role("link", name="rejected rows").click()
    page.wait_for_selector("article h2:has-text('rejected')")


def test_archives_have_books_of_their_own(site: Site, window: Any) -> None:
    """Asked, archived and refused SKUs; those that wait; and what the stores have to do."""
    page = show(window, site, f"?run={site.deployment.run_id(f'n{NIGHTS - 1}')}")
    books = page.locator("section").filter(has_text="Archives, in SKUs")
    line = dict(zip(*(books.locator(part).all_text_contents() for part in ("dt", "dd")), strict=True))
    assert (line["Due"], line["Archived"], line["Refused"]) == ("2", "1", "1")
    with page.expect_download() as caught:
        page.get_by_text("What stores must do before an archive (CSV)").click()
    assert "off the shelf" in Path(caught.value.path()).read_text("utf-8-sig")
    page = show(window, site, f"?run={run_name(RUN)}")
    assert "1 SKU absent from 1 run" in page.text_content("main")


def test_a_sku_that_leaves(site: Site, window: Any) -> None:
    """Since when no source has it, when it is archived, and that the store acts when Amazon refuses."""
    page = show(window, site, "?view=sku&sku=SKU-9")
    assert "1 complete run without it; it is archived after 2." in page.text_content("main")
    page = show(window, site, f"?view=sku&sku=SKU-13&store={SEA}")
    assert "Who acts: the store." in page.text_content("main")


def test_runs_lead_to_their_books(site: Site, window: Any) -> None:
    """The list, its charts as tables, and the way to a run and back."""
    page = show(window, site, "?view=runs")
    assert page.locator("tbody tr").filter(has_text="Complete").count() >= NIGHTS
    page.get_by_text("Show as a table").first.click()
    with page.expect_download() as caught:
        page.get_by_role("link", name="Rejects (CSV)").first.click()
    assert "BARCODE_" in Path(caught.value.path()).read_text("utf-8-sig")
    page.get_by_role("link", name="Batches and reports").last.click()
    page.wait_for_selector("text=Amazon said")
    with page.expect_download() as caught:
        page.get_by_role("link", name="JSON").first.click()
    assert "ingestionId" in Path(caught.value.path()).read_text("utf-8")
    page.go_back()
    page.get_by_role("link", name="Books", exact=True).last.click()
    page.wait_for_selector("text=Books of")
    assert "run=" in page.url
    page.go_back()
    page.wait_for_selector("text=Show as a table")


def test_refused_has_samples_advice_and_a_trend(site: Site, window: Any) -> None:
    """By code and field; what a source wrote as a script is shown as text."""
    page = show(window, site, f"?view=refused&run={run_name(RUN)}")
    finding = page.locator("article").filter(has_text="BARCODE_CHECK_DIGIT")
    assert "scan the product" in finding.text_content()
    finding.locator("summary").click()
    assert finding.locator("tbody tr").count() == 5
    assert page.locator("canvas").count() == 1
    assert page.locator("img, main script").count() == 0


def test_stuck_and_held_shows_all_that_waits(site: Site, window: Any) -> None:
    """An overdue upload, held rows with age, suspended rows, dead letters."""
    page = show(window, site, "?view=stuck")
    text = page.text_content("main")
    for told in (
        "Uploads that wait",
        "GUARD_CHANGED",
        "Held rows by how long they have been held",
        "Suspended rows",
        "release_held_changes",
        "redrive_dead_letters",
    ):
        assert told in text
    assert page.locator(".badge.bad").count() >= 1
    page.get_by_text("The longest held", exact=True).click()
    page.locator("details a").first.click()
    page.wait_for_selector("text=Who acts")


def test_a_sku_is_typed_and_its_story_told(site: Site, window: Any) -> None:
    """Typed with the keyboard alone; every store, then one; hostile names are text."""
    page = show(window, site, "?view=sku")
    page.get_by_label("SKU", exact=True).focus()
    page.keyboard.type("SKU-3")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Who acts")
    assert page.locator(".story tbody tr").count() == len(STORES)
    assert page.locator(".story").count() == 2
    page.locator(".story").get_by_role("link", name=PDX, exact=True).click()
    page.wait_for_selector("ol.way")
    assert "GUARD_CHANGED" in page.text_content("main")
    for hostile in (SCRIPT, "../../etc", "' OR 1=1"):
        page.get_by_label("SKU", exact=True).fill(hostile)
        page.get_by_label("Store (or leave empty)").fill("")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Nothing is known of")
        assert page.locator("img, main script").count() == 0


def test_the_keyboard_reaches_everything(site: Site, window: Any) -> None:
    """Tab goes through the skip link and the tabs in order; Enter changes the view."""
    page = show(window, site, "?view=runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    seen = []
    for _ in VIEWS:
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.dataset.view"))
    assert tuple(seen) == VIEWS
    page.keyboard.press("Enter")
    page.wait_for_selector("form.ask")


@pytest.mark.parametrize("width", [1360, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", LOOKS)
def test_nothing_serious_for_axe(site: Site, view: str, scheme: str, width: int) -> None:
    """No serious or critical finding, in both themes, on a desk and on a phone; and nothing is cut off."""
    from axe_playwright_python.sync_playwright import Axe

    context = site.context(scheme)
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 900})
    show(page, site, LOOKS[view])
    for summary in page.locator("details > summary").all():
        summary.click()
    page.wait_for_timeout(300)
    keep(page, f"{view}-{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What axe brings is put into the page by the driver, past the page's policy.
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    context.close()
    assert [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found] == []


#: The colour of the first bar of each chart, drawn and wanted.
COLOURS = """Object.values(Chart.instances).map((chart) => [
  chart.getDatasetMeta(0).data[0].options.backgroundColor,
  getComputedStyle(document.documentElement).getPropertyValue(chart.data.datasets[0].tone).trim(),
])"""


def test_charts_have_the_colours_of_the_theme(site: Site, window: Any) -> None:
    """At once, and after the reader changes the theme."""
    page = show(window, site, f"?run={run_name(RUN)}")
    page.wait_for_function("() => Object.keys(Chart.instances).length > 1")
    seen = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("(scheme) => document.documentElement.classList.contains(scheme)", arg=scheme)
        charts = page.evaluate(COLOURS)
        assert [drawn for drawn, _ in charts] == [wanted for _, wanted in charts]
        seen.append(charts)
    assert seen[0] != seen[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_at_home_in_airflow(site: Site, scheme: str) -> None:
    """Inside Airflow's frame: its colours, its theme when it changes, deep links, and links that lead out of it."""
    context = site.context(scheme)
    page = context.new_page()
    page.goto(f"{site.url}/plugin/catalog")
    frame = page.frame_locator("iframe")
    frame.locator("h2.state").wait_for(timeout=60_000)
    inner = next(one for one in page.frames if f"{PREFIX}/" in one.url)
    colours = "getComputedStyle(document.body).backgroundColor"
    assert inner.evaluate(colours) == page.evaluate(colours)
    assert inner.evaluate("document.documentElement.className") == scheme
    keep(page, f"airflow-{scheme}")
    other = "dark" if scheme == "light" else "light"
    page.evaluate(f"document.documentElement.classList.replace('{scheme}', '{other}')")
    inner.wait_for_function(f"document.documentElement.classList.contains('{other}')")
    page.goto(f"{site.url}/plugin/catalog/catalog/?view=sku&sku=SKU-3")
    frame.locator(".story").first.wait_for(timeout=60_000)
    page.goto(f"{site.url}/plugin/catalog/catalog/?view=stuck")
    frame.get_by_role("link", name="release_held_changes").first.click(timeout=60_000)
    page.wait_for_url("**/dags/release_held_changes", timeout=60_000)
    context.close()


def test_it_is_a_tab_of_the_run(site: Site, window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tab on the Airflow run, to which its tasks link, shows that run, whatever the run's id has in it."""
    session = {"Authorization": f"Bearer {site.token}"}
    body = {"logical_date": None, "dag_run_id": RUN}
    made = window.request.post(f"{site.url}/api/v2/dags/{DAG}/dagRuns", headers=session, data=body)
    assert made.status == 200, made.text()
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", site.url)
    window.goto(CatalogPageLink().get_link(object(), ti_key=SimpleNamespace(dag_id=DAG, run_id=RUN)))
    window.frame_locator("iframe").get_by_text("started by admin").wait_for(timeout=60_000)
