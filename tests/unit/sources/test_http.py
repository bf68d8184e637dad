"""Paged JSON, against a function from request to response."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import polars as pl
import pytest

from catalog_sync.connections import EnvironmentConnections
from catalog_sync.errors import BadInput, Misconfigured, RetryLater
from catalog_sync.settings import HttpSourceSettings
from catalog_sync.sources import http
from catalog_sync.sources.base import ROW
from catalog_sync.sources.http import HttpSource

Handler = Callable[[httpx.Request], httpx.Response]


def source(handler: Handler, clock: Any, connection: dict[str, Any] | None = None, **settings: Any) -> HttpSource:
    """A source on ``https://erp.example/api`` whose requests go to ``handler``."""
    described = {"host": "https://erp.example/api", "login": "u", "password": "p", **(connection or {})}
    made = HttpSourceSettings.model_validate(
        {"name": "erp", "kind": "http", "conn_id": "erp", "endpoint": "items", **settings}
    )
    connections = EnvironmentConnections({"AIRFLOW_CONN_ERP": json.dumps(described)})
    return HttpSource(made, connections, clock, httpx.MockTransport(handler))


def rows(one: HttpSource) -> list[dict[str, Any]]:
    """Every row."""
    frames = [pl.DataFrame(batch) for batch in one.batches()]
    return pl.concat(frames, how="diagonal").to_dicts() if frames else []


def test_pages_are_followed_by_url(clock) -> None:
    """Relative and absolute; parameters of the first page, credentials on each, rows numbered through."""
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["Authorization"][:5]))
        step = {"/api/items": "/api/items2", "/api/items2": "https://erp.example/api/items3?x=1", "/api/items3": None}
        return httpx.Response(
            200, json={"data": {"rows": [{"sku": request.url.path}]}, "links": {"next": step[request.url.path]}}
        )

    got = rows(
        source(answer, clock, rows="data.rows", next="links.next", endpoint="items?kind=food", params={"size": "9"})
    )
    assert [(row["sku"], row[ROW]) for row in got] == [("/api/items", 1), ("/api/items2", 2), ("/api/items3", 3)]
    assert seen == [
        ("https://erp.example/api/items?kind=food&size=9", "Basic"),
        ("https://erp.example/api/items2", "Basic"),
        ("https://erp.example/api/items3?x=1", "Basic"),
    ]


def test_pages_are_followed_by_token(clock) -> None:
    """The token goes into its parameter; the others stay."""

    def answer(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params.get("page", "1"))
        assert request.url.params["size"] == "2"
        return httpx.Response(200, json={"items": [{"n": page}], "next": page + 1 if page < 3 else None})

    got = rows(source(answer, clock, rows="items", next="next", next_param="page", params={"size": "2"}))
    assert [row["n"] for row in got] == ["1", "2", "3"]


def test_a_bearer_token_comes_from_the_connection(clock) -> None:
    """``authorization`` in the connection's extra is the header."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer abc"
        return httpx.Response(200, json=[{"sku": "1"}])

    assert len(rows(source(answer, clock, {"login": "", "extra": {"authorization": "Bearer abc"}}))) == 1


def test_rows_that_are_no_objects_are_unreadable(clock) -> None:
    """Others are read, numbers as written."""
    body = b'[{"gtin": 1.23E+11}, 7, {"gtin": "a\\u0000"}, {"gtin": "\\ud800"}, {"gtin": "0012"}]'
    one = source(lambda _: httpx.Response(200, content=body), clock)
    assert [(row["gtin"], row[ROW]) for row in rows(one)] == [("1.23E+11", 1), ("0012", 5)]
    assert [row.row for row in one.unreadable] == [2, 3, 4]


@pytest.mark.parametrize(
    "step",
    [
        "https://evil.example/x",
        "http://erp.example/api/items",
        "//evil.example/",
        "https://erp.example:8443/",
        "https://x@erp.example/",
    ],
)
def test_credentials_go_to_no_other_host(clock, step) -> None:
    """Another host, scheme or port is refused before it is asked."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.url.scheme, request.url.netloc) == ("https", b"erp.example")
        return httpx.Response(200, json={"rows": [], "next": step})

    with pytest.raises(BadInput, match="leads to another host"):
        rows(source(answer, clock, rows="rows", next="next"))


def test_redirects_are_not_followed(clock) -> None:
    """They could lead anywhere."""
    one = source(lambda _: httpx.Response(302, headers={"Location": "https://evil.example"}), clock)
    with pytest.raises(BadInput, match="HTTP 302"):
        rows(one)


@pytest.mark.parametrize(
    ("page", "settings", "message"),
    [
        ({"rows": [], "next": "items"}, {"next": "next"}, "leads back to an earlier one"),
        ({"rows": [], "next": "a"}, {"next": "next", "next_param": "t"}, "leads back to an earlier one"),
        ({"rows": [], "next": "https://erp.example:port/"}, {"next": "next"}, "which is no URL"),
        ({"data": []}, {}, "rows = 'rows': there is no list"),
        ([], {}, "rows = 'rows': there is no list"),
    ],
)
def test_pages_that_cannot_be_followed(clock, page, settings, message) -> None:
    """Loops, other shapes and broken links end the reading with an error."""
    with pytest.raises(BadInput, match=message):
        rows(source(lambda _: httpx.Response(200, json=page), clock, rows="rows", **settings))


def test_too_many_pages(clock) -> None:
    """An API that never ends is not read for ever."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"rows": [], "next": int(request.url.params.get("p", "0")) + 1})

    with pytest.raises(BadInput, match="more than 5 pages"):
        rows(source(answer, clock, rows="rows", next="next", next_param="p", max_pages=5))


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"<html>", "is not JSON"), (b"\xff\xfe{", "is not JSON"), (b"[" + b" " * 2000, "over 1000 bytes")],
)
def test_pages_that_are_not_json(clock, monkeypatch, body, message) -> None:
    """Nor larger than any page may be."""
    monkeypatch.setattr(http, "MAX_PAGE", 1000)
    with pytest.raises(BadInput, match=message):
        rows(source(lambda _: httpx.Response(200, content=body), clock))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_refusals_are_not_retried(clock, status) -> None:
    """One request, and an error that names the status."""
    calls = []
    with pytest.raises(BadInput, match=f"HTTP {status}"):
        rows(source(lambda r: calls.append(r) or httpx.Response(status), clock))
    assert len(calls) == 1


def test_passing_failures_are_retried(clock) -> None:
    """429 after the time it asks for, server errors and broken connections with growing pauses."""
    began, calls = clock.now, []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(clock.now - began)
        match len(calls):
            case 1:
                return httpx.Response(429, headers={"Retry-After": "40"})
            case 2:
                return httpx.Response(503)
            case 3:
                raise httpx.ConnectError("reset", request=request)
        return httpx.Response(200, json=[{"sku": "1"}])

    assert len(rows(source(answer, clock))) == 1
    assert calls[1] >= 40
    assert len(calls) == 4
    assert calls == sorted(set(calls))


def test_what_does_not_pass_is_left_to_the_task(clock) -> None:
    """After six tries."""
    calls = []
    with pytest.raises(RetryLater, match="HTTP 500"):
        rows(source(lambda r: calls.append(r) or httpx.Response(500), clock))
    assert len(calls) == http.TRIES


@pytest.mark.parametrize("host", ["http://erp.example", "ftp://erp.example", ""])
def test_plain_http_is_refused(clock, host) -> None:
    """Credentials travel encrypted."""
    with pytest.raises(Misconfigured, match="must be https"):
        rows(source(lambda _: httpx.Response(200, json=[]), clock, {"host": host}))


@pytest.mark.parametrize("step", ['"\\ud800"', '"' + "x" * 70_000 + '"', "true", "{}", "[1]"])
@pytest.mark.parametrize("parameter", [None, "token"])
def test_a_next_page_that_no_address_can_hold(clock, step, parameter) -> None:
    """Half a character, an address without end, or no text at all: nothing is read."""
    body = f'{{"rows": [], "next": {step}}}'
    with pytest.raises(BadInput, match="nothing was read"):
        rows(source(lambda _: httpx.Response(200, content=body), clock, rows="rows", next="next", next_param=parameter))
