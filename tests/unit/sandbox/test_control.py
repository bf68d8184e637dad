"""The control plane over HTTP, without a socket: the ASGI application itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest

from catalog_sandbox.api import Dropped
from catalog_sandbox.app import build
from catalog_sandbox.assumptions import ASSUMPTIONS
from catalog_sandbox.faults import FAULTS

DOCS = Path(__file__).parents[3] / "docs" / "sandbox.md"


@pytest.fixture
def call(world):
    """Return a function that sends one request to the application."""
    app = build(world.core, world.api)

    def send(method, path, **more):
        async def run():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://sandbox.test") as client:
                return await client.request(method, path, **more)

        return asyncio.run(run())

    return send


def lines(response):
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in response.text.splitlines()]


def test_catalog(world, item, call):
    """GET /sandbox/catalog gives the items as received with state and store; store_id picks one store."""
    world.outcome(item(1), item(2, store_id="PDX-001"))
    world.report(world.archive(["TEST-002"]))
    assert lines(call("GET", "/sandbox/catalog")) == [
        {**item(2, store_id="PDX-001"), "state": "ARCHIVED", "store": "PDX-001"},
        {**item(1), "state": "ACTIVE", "store": "SEA-001"},
    ]
    assert [row["item_sku"] for row in lines(call("GET", "/sandbox/catalog?store_id=SEA-001"))] == ["TEST-001"]
    assert lines(call("GET", "/sandbox/catalog?store_id=LON-003")) == []


def test_a_large_catalog_is_complete(world, item, call):
    """The catalog is streamed in pieces and nothing is lost between them."""
    world.outcome(*(item(number) for number in range(1, 2502)))
    assert len(lines(call("GET", "/sandbox/catalog"))) == 2501


def test_requests(world, item, call):
    """GET /sandbox/requests gives time, operation, status and items of every request, refused ones too."""
    accepted = world.upload(item(1), item(2))
    world.upload(item(store_id="NO"))
    world.status(accepted)
    world.script("reset_before")
    with pytest.raises(httpx.ReadError):
        world.archive(["A", "B", "C"])
    found = lines(call("GET", "/sandbox/requests"))
    assert [(r["operation"], r["status"], r["items"]) for r in found] == [
        ("upload", 201, 2),
        ("upload", 400, 1),
        ("status", 200, 0),
        ("archive", 0, 0),
    ]
    assert found[0]["ingestion_id"] == accepted.json()["ingestionId"]
    assert found[3]["fault"] == "reset_before"
    assert [r["time"] for r in found] == sorted(r["time"] for r in found)
    assert all(isinstance(r["time"], float) for r in found)
    assert found[0]["sha256"] == hashlib.sha256(accepted.request.content).hexdigest()
    assert len({r["sha256"] for r in found}) == 4


def test_ingestions(world, item, call):
    """GET /sandbox/ingestions gives one record per ingestion with its counts."""
    accepted = world.upload(item(1), item(2, standard_price="x"))
    world.run()
    (record,) = lines(call("GET", "/sandbox/ingestions"))
    assert record["ingestion_id"] == accepted.json()["ingestionId"]
    assert (record["operation"], record["status"]) == ("upload", "DONE")
    assert (record["items"], record["succeeded"], record["failed"]) == (2, 1, 1)


def test_faults_round_trip(world, item, call):
    """PUT /sandbox/faults replaces the faults on order; GET gives them back in the form that PUT takes."""
    plan = call("GET", "/sandbox/faults").json()
    plan["script"] = [{"fault": "unavailable", "times": 1}]
    assert call("PUT", "/sandbox/faults", json=plan).status_code == 200
    assert world.upload(item()).status_code == 503
    assert call("GET", "/sandbox/faults").json()["script"] == []
    assert call("PUT", "/sandbox/faults", json=call("GET", "/sandbox/faults").json()).status_code == 200


def test_a_bad_fault_is_refused(call):
    """PUT /sandbox/faults with an unknown fault is a 400 that names it."""
    response = call("PUT", "/sandbox/faults", json={"rates": {"nonsense": 1}})
    assert (response.status_code, "nonsense" in response.text) == (400, True)
    assert call("PUT", "/sandbox/faults", content=b"{").status_code == 400


def test_reset(world, item, call):
    """POST /sandbox/reset forgets items, ingestions, requests and faults."""
    world.outcome(item())
    call("PUT", "/sandbox/faults", json={"rates": {"unavailable": 1}})
    health = call("POST", "/sandbox/reset").json()
    assert (health["catalog"], health["ingestions"]) == ({}, {})
    assert lines(call("GET", "/sandbox/requests")) == []
    assert world.upload(item()).status_code == 201


def test_health(world, item, call):
    """GET /sandbox/health counts items by store and state, and ingestions by status."""
    world.outcome(item())
    world.upload(item(2))
    health = call("GET", "/sandbox/health").json()
    assert health["status"] == "ok"
    assert health["catalog"] == {"SEA-001": {"ACTIVE": 1, "ARCHIVED": 0}}
    assert (health["ingestions"], health["open"]) == ({"DONE": 1, "INQUEUE": 1}, 1)


def test_the_control_plane_is_outside_the_limit(world, item, call):
    """Looking at the control plane costs no request of the API's limit."""
    for _ in range(15):
        call("GET", "/sandbox/health")
    world.pace = 0
    assert world.upload(item()).status_code == 201


def test_the_api_over_asgi(world, item, call):
    """The application carries API and reports, signed and parsed as on the wire."""
    request = world.client.build_request("POST", "/v1/catalog/upload", json={"catalogItems": [item()]})
    signed = next(world.client.auth.auth_flow(request))
    response = call("POST", "/v1/catalog/upload", content=signed.content, headers=dict(signed.headers))
    assert response.status_code == 201
    world.run()
    assert call("GET", world.status(response)["reportDownloadLink"]).json()["summary"]["succeeded"] == 1


def test_a_drop_is_raised_where_there_is_no_socket(world, item, call):
    """Without the sandbox's own server a drop is an exception of the application."""
    world.script("reset_after")
    request = world.client.build_request("POST", "/v1/catalog/upload", json={"catalogItems": [item()]})
    signed = next(world.client.auth.auth_flow(request))
    with pytest.raises(Dropped):
        call("POST", "/v1/catalog/upload", content=signed.content, headers=dict(signed.headers))


def test_assumptions_are_complete():
    """U1 to U36 are all there, in order, before the sandbox's own."""
    codes = [entry.code for entry in ASSUMPTIONS]
    own = [code for code in codes if code.startswith("S")]
    assert codes == [f"U{number}" for number in range(1, 37)] + [f"S{number}" for number in range(1, len(own) + 1)]


def test_the_page_lists_every_assumption_and_fault(call):
    """The start page and /sandbox/assumptions come from the one table."""
    page = call("GET", "/sandbox/").text
    assert page == call("GET", "/sandbox").text
    assert re.findall(r"<td>([US]\d+)</td>", page) == [entry.code for entry in ASSUMPTIONS]
    assert all(f"<code>{name}</code>" in page for names in FAULTS.values() for name in names)
    assert call("GET", "/sandbox/assumptions").json() == [entry.record() for entry in ASSUMPTIONS]


def table(head):
    """Return the cells of the documentation's table with this head."""
    text = DOCS.read_text(encoding="utf-8")
    rows = text.split(f"{head}\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_the_documentation_has_the_same_assumptions():
    """docs/sandbox.md lists the assumptions word for word."""
    expected = [[entry.code, entry.unknown, entry.choice] for entry in ASSUMPTIONS]
    assert table("| No. | Not documented | Here |") == expected


def test_the_documentation_has_the_same_faults():
    """docs/sandbox.md lists the faults word for word."""
    expected = [[f"`{name}`", point, text] for point, names in FAULTS.items() for name, text in names.items()]
    assert table("| Fault | Strikes | What happens |") == expected
