"""The command line as it is typed: the plan before a sync, and the audit trail after it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.conftest import Deployment, row

from catalog_sync.cli import INCOMPLETE, OK, WRONG, main

ROWS = [row(n, store) for n in range(3) for store in ("SEA-001", "PDX-001")]


@pytest.fixture
def typed(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Types a command and returns its exit code and what it printed."""
    for name, value in deployment.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: str) -> tuple[int, str]:
        deployment.settings()
        code = main(["--config", str(deployment.folder / "catalog.yaml"), *words])
        return code, capsys.readouterr().out

    return command


def test_a_plan_a_sync_and_the_audit_trail(deployment: Deployment, typed: Any) -> None:
    """``plan`` shows and sends nothing, ``sync`` sends, ``audit`` tells who did, and finds a changed entry."""
    deployment.write(ROWS)
    code, shown = typed("plan", "--run-id", f"{deployment.name}-p1")
    assert code == OK
    assert "6 rows to send in 1 request," in shown
    assert deployment.uploads() == 0
    code, shown = typed("sync", "--run-id", f"{deployment.name}-r1", "--reason", "first load")
    assert (code, deployment.uploads()) == (OK, 1)

    deployment.write([{**one, "retail": "1.75"} for one in ROWS])
    code, shown = typed("plan", "--run-id", f"{deployment.name}-p2", "--json")
    made = json.loads(shown)
    assert code == OK
    assert (made["summary"]["fields"], made["summary"]["total"]["changed"]) == ({"standard_price": 6}, 6)
    assert len(made["lists"]) == 1

    chosen = deployment.folder / "chosen.txt"
    chosen.write_text("SKU-1\nSKU-99\n")
    choice = ("--skus-file", str(chosen), "--changed-since", "2020-01-01T00:00", "--resend")
    code, shown = typed("plan", "--run-id", f"{deployment.name}-p3", "--stores", "SEA-001", *choice)
    assert code == OK
    assert "Asked for: store SEA-001; SKUs of " in shown
    assert "1 of 2 SKUs have no row in these stores: SKU-99" in shown
    assert "1 rows to send" in shown
    code, _ = typed("plan", "--departments", "Dairy")
    assert code == WRONG

    code, shown = typed("audit")
    assert code == OK
    assert "unbroken: 1 entries" in shown
    assert "first load" in " ".join(shown.split())
    code, shown = typed("audit", "--json")
    [entry] = json.loads(shown)["trail"]
    assert (code, entry["what"], entry["details"]["acknowledged"]) == (OK, "upload", 6)
    lake = deployment.open("any").lake
    lake.put("audit/000000000001.json", b"{}")
    code, shown = typed("audit")
    assert code == INCOMPLETE
    assert "entry 1 is no entry" in shown


def test_why_and_the_list_of_runs(deployment: Deployment, typed: Any) -> None:
    """``why`` tells an item's story on S3 and DynamoDB, in words and as JSON; ``runs`` lists, and is made anew."""
    deployment.write(ROWS)
    name = f"{deployment.name}-r1"
    assert typed("sync", "--run-id", name)[0] == OK
    code, shown = typed("why", "SKU-1", "SEA-001")
    assert code == OK
    assert "SEA-001: Amazon has it as the source last had it" in shown
    assert "Who acts: nobody." in shown
    code, shown = typed("why", "SKU-1", "--json")
    assert (code, [one["verdict"] for one in json.loads(shown)["stores"]]) == (OK, ["in_step", "in_step"])
    code, shown = typed("why", "NO-SUCH-SKU")
    assert (code, "Nothing is known of it in any store" in shown) == (INCOMPLETE, True)
    assert typed("why", "")[0] == WRONG

    code, shown = typed("runs", "--json")
    [record] = json.loads(shown)
    assert (code, record["run_id"], record["state"], record["total"]["acknowledged"]) == (OK, name, "complete", 6)
    assert "pk" not in record
    assert name in typed("runs")[1]
    assert deployment.open("any").lake.folders("runs") == [name]
    assert typed("runs", "--rebuild")[0] == OK


def test_the_notices_of_a_run(deployment: Deployment, typed: Any) -> None:
    """What stores and owners of sources would read; of one of them; and as JSON, with where it was sent."""
    deployment.write([*ROWS, {**row(9), "gtin": "012345678901"}])
    run = f"{deployment.name}-r1"
    assert typed("sync", "--run-id", run)[0] == OK
    code, shown = typed("notices", run)
    assert code == OK
    for told in (
        "Store PDX-001: 3 added",
        "Store SEA-001: 3 added",
        "Source erp: 1 rejected; 1 new",
        "through no channel",
    ):
        assert told in shown
    assert "Store PDX-001" not in typed("notices", run, "--about", "SEA-001")[1]
    code, shown = typed("notices", run, "--json")
    made = json.loads(shown)
    assert [(one["store"], one["counts"]["added"], one["sent"]) for one in made["stores"]] == [
        ("PDX-001", 3, {}), ("SEA-001", 3, {}),
    ]  # fmt: skip
    assert made["sources"][0]["listed"]["rejected/BARCODE_CHECK_DIGIT"][0]["column"] == "gtin"
    assert typed("notices", "nowhere")[0] == WRONG


def test_a_rollback_to_a_run_and_to_a_time(deployment: Deployment, typed: Any) -> None:
    """Shown first; with ``--send`` Amazon has what it had, in one store or all; the audit trail says who did it."""
    first, second = f"{deployment.name}-r1", f"{deployment.name}-r2"
    deployment.write(ROWS)
    assert typed("sync", "--run-id", first)[0] == OK
    before, at = deployment.catalog(), datetime.now(UTC).isoformat()
    deployment.write([{**one, "descr": "Wrong"} for one in ROWS])
    assert typed("sync", "--run-id", second)[0] == OK
    sent, wrong = deployment.uploads(), deployment.catalog()
    assert set(wrong.values()) == {"Wrong"}

    code, shown = typed("rollback", "--to", first)
    assert (code, deployment.uploads()) == (OK, sent)
    assert f"To what Amazon had after run {first}" in shown
    assert "6 rows to send in 1 request," in shown

    to_time = ("rollback", "--to", at, "--stores", "SEA-001", "--send", "--reason", "a wrong file")
    code, shown = typed(*to_time, "--json")
    made = json.loads(shown)
    assert (code, made["total"]["acknowledged"], made["rollback"]["words"][:20]) == (OK, 3, "what Amazon had at 2")
    assert deployment.catalog() == {key: (before if key[0] == "SEA-001" else wrong)[key] for key in before}
    assert typed("rollback", "--to", first, "--send")[0] == OK
    assert deployment.catalog() == before
    assert "a wrong file" in " ".join(typed("audit")[1].split())
    assert typed("rollback", "--to", "1999-01-01")[0] == WRONG
    assert typed("rollback", "--to", "nowhere", "--send")[0] == WRONG
    assert deployment.catalog() == before
