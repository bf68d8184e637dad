"""The Catalog page as Airflow's API server serves it: who may see it, what its answers carry, and that nothing leaks.

The application is Airflow's own with the plugin in it; the deployment is a sandbox's, with a night in which rows were
rejected, refused and held.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Deployment, Services, row

from catalog_airflow.web import PREFIX, deployment, files
from catalog_local.airflow import migrate

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:airflow"),
]

ROOT = Path(__file__).resolve().parents[2]
SEA, PDX = "SEA-001", "PDX-001"
SCRIPT = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://x")'
#: A path of each kind, and what it is asked with.
PATHS = {
    "/": {}, "/static/main.js": {}, "/data/run": {}, "/data/alerts": {}, "/data/batches": {}, "/data/runs": {},
    "/data/refused": {}, "/data/stuck": {}, "/data/why": {"sku": "SKU-1"}, "/data/runbook": {"page": "rows-held.md"},
    "/download/refused.csv": {"name": "n2"}, "/download/changes.csv": {"name": "n2"},
    "/download/leaving.csv": {"name": "n2"}, "/download/tasks.csv": {"name": "n2"},
    "/download/plan.md": {"name": "n2"}, "/download/report.json": {"ingestion_id": "none"},
}  # fmt: skip
#: Of these the deployment has none.
NOTHING = ("/download/report.json", "/download/leaving.csv", "/download/tasks.csv")


@pytest.fixture(scope="module")
def page(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Airflow's application over a deployment with two nights behind it."""
    migrate(os.environ)
    made = Deployment(services, tmp_path_factory.mktemp("page"))
    rows = [row(n, store) for n in range(6) for store in (SEA, PDX)]
    made.faults(refuse_skus=["SKU-1"])
    bad = [row(7, gtin="012345678901", descr=SCRIPT), row(8, item_no=FORMULA)]
    made.sync("n1", [*rows, *bad])
    made.raw["guards"] = {"store": {"changed": {"percent": 20, "min_rows": 1}}}
    made.sync("n2", [{**one, "descr": "B"} if one["store_no"] == PDX else one for one in [*rows, *bad]])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environ.items():
            patch.setenv(name, value)
        patch.setenv("CATALOG_CONFIG", str(made.folder / "catalog.yaml"))
        made.settings()
        deployment.forget()
        yield Page(made)
        deployment.forget()


class Page:
    """Asks the page as somebody."""

    def __init__(self, made: Deployment) -> None:
        from airflow.api_fastapi.app import create_app
        from starlette.testclient import TestClient

        self.deployment = made
        self.client = TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False)

    def token(self, role: str | None) -> str:
        """A session of somebody with this role."""
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

        return str(get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="somebody", role=role)))

    def ask(self, path: str, role: str | None = "VIEWER", method: str = "GET", **arguments: Any) -> Any:
        """Return the answer to a request with the session cookie that the browser sends."""
        return self.raw(path, self.token(role), method, **arguments)

    def raw(self, path: str, token: str, method: str = "GET", **arguments: Any) -> Any:
        """Return the answer to a request with this cookie; an empty one is left out."""
        self.client.cookies.clear()
        if token:
            self.client.cookies.set("_token", token)
        return self.client.request(method, f"{PREFIX}{path}", **arguments)

    def named(self, path: str) -> dict[str, str]:
        """What the path is asked with, runs by their name in the shared lake."""
        asked = PATHS[path]
        return {key: self.deployment.run_id(value) if key == "name" else value for key, value in asked.items()}


def test_every_route_asks_for_permission_and_only_reads() -> None:
    """Walked: each route has the dependency, is GET, and there are no others; each is asked for in these tests."""
    from fastapi.routing import APIRoute

    from catalog_airflow.web.app import build

    routes: list[Any] = list(_walk(build().routes))
    assert {type(route) for route in routes} == {APIRoute}
    assert {route.path.replace("{name:path}", "main.js") for route in routes} == set(PATHS)
    for route in routes:
        calls = [one.call.__qualname__ for one in route.dependant.dependencies]
        assert calls == ["requires_access_dag.<locals>.inner"], route.path
        assert route.methods == {"GET"}


def _walk(routes: Any) -> Iterator[Any]:
    for route in routes:
        nested = getattr(getattr(route, "original_router", None), "routes", None)
        if nested is None:
            yield route
        else:
            yield from _walk(nested)


@pytest.mark.parametrize("path", sorted(PATHS))
def test_who_may_see_it(page: Page, path: str) -> None:
    """No session 401; a session that is none 403; no role 403; a viewer sees it."""
    asked = page.named(path)
    assert page.raw(path, "", params=asked).status_code == 401
    assert page.raw(path, "not.a.token", params=asked).status_code == 403
    assert page.ask(path, None, params=asked).status_code == 403
    seen = page.ask(path, "VIEWER", params=asked)
    assert seen.status_code == (404 if path in NOTHING else 200), seen.text
    for answer in (seen, page.raw(path, "", params=asked)):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no-store" in answer.headers["cache-control"] or "private" in answer.headers["cache-control"]


def test_a_dag_that_one_may_see_is_no_key_to_the_page(page: Page) -> None:
    """What the request names as its DAG does not decide who may see the page."""
    assert page.ask("/data/runs", None, params={"dag_id": "~"}).status_code == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/static/", "/static/none.js", "/nothing"])
def test_what_is_not_there(page: Page, path: str) -> None:
    """FastAPI's own pages are off."""
    assert page.ask(path).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(page: Page, method: str) -> None:
    """Whoever asks, from wherever."""
    answer = page.ask("/data/runs", "ADMIN", method, headers={"origin": "https://evil.example"})
    assert (answer.status_code, "content-security-policy" in answer.headers) == (405, True)


def test_another_site_may_link_but_not_fetch(page: Page) -> None:
    """A link in a mail opens the page; a script or an image elsewhere gets nothing."""
    elsewhere = {"sec-fetch-site": "cross-site"}
    assert page.ask("/data/runs", headers={**elsewhere, "sec-fetch-mode": "cors"}).status_code == 403
    assert page.ask("/static/main.js", headers={**elsewhere, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert page.ask("/", headers={**elsewhere, "sec-fetch-mode": "navigate"}).status_code == 200
    assert (
        page.ask("/data/runs", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}).status_code == 200
    )


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fcontext.py", "/static//etc/passwd",
        "/static/vendor/../../app.py", "/static/%00", "/static/index.html%00.js",
    ],
)  # fmt: skip
def test_no_file_but_the_pages_own(page: Page, path: str) -> None:
    """Paths that climb are no names of files."""
    answer = page.ask(path)
    assert answer.status_code in (400, 404)
    assert "APIRouter" not in answer.text


@pytest.mark.parametrize("name", ["../../x", "..", "a/b", "n1%00", "x" * 201, "no-such-run", "tables", "$(id)"])
@pytest.mark.parametrize("path", ["/data/run", "/data/batches", "/data/refused", "/download/plan.md"])
def test_a_run_that_is_none(page: Page, path: str, name: str) -> None:
    """Refused before it becomes a path, or not found."""
    assert page.ask(path, params={"name": name}).status_code in (404, 422)


@pytest.mark.parametrize("sku", [SCRIPT, "' OR '1'='1", "../../x", "%", "\x00", "a\nb", "x" * 256, "", "𝕏", FORMULA])
def test_a_hostile_sku(page: Page, sku: str) -> None:
    """A text like any other, or a clear error."""
    answer = page.ask("/data/why", params={"sku": sku})
    assert answer.status_code in (200, 400, 422)
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code == 200 and sku != FORMULA:
        assert answer.json()["stores"] == []


def test_names_and_messages_travel_as_data(page: Page) -> None:
    """What a source wrote is JSON that no browser takes for a page; in the download no cell is a formula."""
    name = page.deployment.run_id("n1")
    answer = page.ask("/data/why", params={"sku": "SKU-7", "store": SEA})
    [story] = answer.json()["stores"]
    assert (story["verdict"], story["steps"]["source"][0]["item_name"]) == ("rejected", SCRIPT)
    text = page.ask("/download/refused.csv", params={"name": name})
    assert text.headers["content-disposition"] == f'attachment; filename="refused-{name}.csv"'
    assert f"'{FORMULA[:10]}" in text.text.replace('""', '"')
    assert "\n=" not in text.text
    assert ",=" not in text.text


def test_the_views_agree_with_the_books(page: Page) -> None:
    """The newest run, the list, what was refused, and what is held."""
    run = page.ask("/data/run").json()
    assert (run["record"]["run_id"], run["total"]["held"]) == (page.deployment.run_id("n2"), 5)
    assert len(page.ask("/data/runs").json()["runs"]) == 2
    seen = page.ask("/data/refused", params={"name": page.deployment.run_id("n1")}).json()
    assert {line["code"] for line in seen["rejected"]} == {"BARCODE_CHECK_DIGIT", "SKU_FORMAT"}
    assert seen["refused"][0]["rows"] == 2
    stuck = page.ask("/data/stuck").json()
    assert (stuck["held"][0]["code"], stuck["dead_letters"]["waiting"]) == ("GUARD_CHANGED", 0)
    assert page.ask("/data/why", params={"sku": "SKU-2", "store": PDX}).json()["stores"][0]["verdict"] == "held"
    unknown = page.ask(
        "/data/run", params={"dag": "nightly_catalog_sync", "dag_run": "manual__2026-01-01T00:00:00+00:00"}
    )
    assert (unknown.status_code, "error" in unknown.json()) == (404, True)


def test_an_error_tells_no_detail(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong inside is in the log, not in the answer."""
    from catalog_sync.views import stuck

    def broken(run: Any) -> Any:
        raise RuntimeError("AKIA-SECRET")

    monkeypatch.setattr(stuck, "stuck", broken)
    answer = page.ask("/data/stuck")
    assert (answer.status_code, "AKIA" in answer.text, "log" in answer.json()["error"]) == (500, False, True)
    assert "content-security-policy" in answer.headers


def test_a_file_is_sent_once(page: Page) -> None:
    """The browser's copy is asked about, and sent again only when it has changed."""
    first = page.ask("/static/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = page.ask("/static/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_airflow_shows_it_in_its_navigation_and_on_a_run(page: Page) -> None:
    """The plugin's views are what Airflow's UI asks for."""
    token = page.token("ADMIN")
    answer = page.client.get("/api/v2/plugins", headers={"Authorization": f"Bearer {token}"}).json()
    [plugin] = [one for one in answer["plugins"] if one["name"] == "catalog_sync"]
    assert {view["destination"]: view["href"] for view in plugin["external_views"]} == {
        "nav": "/catalog/", "dag_run": "/catalog/?dag={DAG_ID}&dag_run={RUN_ID}",
    }  # fmt: skip


def test_nothing_on_the_page_is_written_as_html() -> None:
    """Texts become text nodes: no script has a way to make HTML or code of a text, and nothing comes from elsewhere."""
    own = {name: path.read_text("utf-8") for name, path in files.known().items() if not name.startswith("vendor/")}
    assert len(own) > 10
    for name, text in own.items():
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "srcdoc"):
            assert word not in text, f"{name}: {word}"
        assert "://" not in text.replace("http://www.w3.org/2000/svg", ""), name
        if name.endswith(".html"):
            assert "<style" not in text
            assert " on" not in text.replace(" only", "")
            assert text.count("<script") == text.count("<script src=")


def test_loading_the_plugin_loads_no_frame_library() -> None:
    """Each of Airflow's processes loads it: neither frames nor the page itself."""
    heavy = ("pandas", "polars", "pyarrow", "deltalake", "boto3", "catalog_airflow.web.app", "catalog_sync.tables")
    code = (
        "import sys; sys.path.append('plugins'); import catalog_airflow_plugin;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
