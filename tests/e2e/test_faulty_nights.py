"""Nights in which everything fails, on real Airflow: more batches than it may map, and no secret written down (I8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import pytest
from tests.e2e import planted
from tests.e2e.independent_record import lines
from tests.e2e.kill_stack import FIELDS, STORES, KillStack

from catalog_local.ports import HOST
from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from catalog_sync.run import run_name

#: The 3,000 rows of the file and one of the POS make one batch more than Airflow may map here.
MAX_ITEMS, MAX_MAP_LENGTH, BATCHES = 350, 8, 9
POS_ROW = dict(zip(FIELDS, ("POS-1", "4011", "Banana", STORES[0], "0.20"), strict=True))

#: One fault of each kind at each point; each strikes once, and most of them several times more by rate.
ONCE = (
    "throttled", "server_error_retry", "bad_gateway", "gateway_timeout_after", "no_id", "not_json", "reset_before",
    "timeout_after", "server_error_final", "fatal", "fatal_half", "report_truncated",
)  # fmt: skip
RATES = {
    "unavailable_after": 0.1, "reset_after": 0.1, "notice_lost": 0.2, "notice_repeated": 0.2, "link_expired": 0.2,
    "link_missing": 0.1, "report_truncated": 0.1, "report_fields_missing": 0.1, "report_unlisted": 0.1,
    "report_unavailable": 0.2, "report_error_page": 0.2,
}  # fmt: skip

pytestmark = [
    pytest.mark.enable_socket,
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@dataclass
class Nights:
    """A deployment whose connections hold planted secrets, and its source that asks for a password."""

    stack: KillStack
    pos: Any

    def faults(self, **plan: Any) -> None:
        """Order faults from the sandbox."""
        url = f"{self.stack.sandbox_url}/sandbox/faults"
        httpx.put(url, json=plan, trust_env=False, timeout=30).raise_for_status()

    def play(self) -> tuple[str, str]:
        """Let a night run to its end, with new prices; return its run id and state."""
        self.stack.change_source()
        run_id = self.stack.trigger()
        return run_id, self.stack.end(run_id)

    def books(self, run_id: str) -> dict[str, Any]:
        """Return the books of a run, complete or not."""
        prefix = f"runs/{run_name(run_id)}"
        found = self.stack.lake.json(f"{prefix}/books.json") or self.stack.lake.json(f"{prefix}/books-incomplete.json")
        assert found
        return dict(found)

    def uploads(self, run_id: str) -> list[dict[str, Any]]:
        """Return the run's upload tasks."""
        return [task for task in self.stack.tasks(run_id) if task["task_id"] == "upload"]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """One deployment for all nights."""
    with planted.pos([POS_ROW]) as pos:
        stack = KillStack.start(
            tmp_path_factory.mktemp("faulty"),
            {
                "api": {
                    "max_items": MAX_ITEMS,
                    "breaker": {"failures": 3, "pause": "1s", "longest_pause": "2s"},
                },
                "merge": {"precedence": ["items", "pos"]},
                "sources": [
                    {"name": "items", "kind": "file", "path": "items.csv", "format": "csv"},
                    {"name": "pos", "kind": "http", "conn_id": "pos", "endpoint": "rows", "rows": "rows"},
                ],
            },
            lambda ports: {
                **planted.connections(ports, pos.server_port),
                "AIRFLOW__CORE__MAX_MAP_LENGTH": str(MAX_MAP_LENGTH),
            },
            give_up_after=90,  # some results never come, and the last night sends their rows again
        )
        yield Nights(stack, pos)
        stack.stop()


@pytest.mark.timeout(600)
def test_a_plan_of_more_batches_than_airflow_maps(nights: Nights) -> None:
    """Nine batches in at most eight tasks, although max_upload_tasks allows 500; every row is acknowledged."""
    run_id, state = nights.play()
    books = nights.books(run_id)
    assert (state, books["plan"]["batches"], books["total"]["acknowledged"]) == ("success", BATCHES, 3001)
    assert 1 < len(nights.uploads(run_id)) <= MAX_MAP_LENGTH
    assert any(nights.pos.seen)


@pytest.mark.timeout(900)
def test_everything_fails_and_no_secret_is_written_down(nights: Nights) -> None:
    """A source that refuses, an Amazon that refuses, and one that fails in every way; then all is made good."""
    nights.pos.script[:] = [503, 401]
    assert nights.play()[1] == "failed"
    nights.pos.script.clear()
    nights.faults(rates={"forbidden": 1.0})
    assert nights.play()[1] == "failed"
    nights.faults(rates=RATES, script=[{"fault": fault} for fault in ONCE], hold=4, refuse_skus=["SKU-0001"])
    run_id, _ = nights.play()
    books = nights.books(run_id)
    assert books["state"] in ("complete", "incomplete")
    struck = httpx.get(f"{nights.stack.sandbox_url}/sandbox/health", trust_env=False).json()
    injected = {name for name, times in struck["injected"].items() if times}
    assert injected >= {"throttled", "forbidden", "bad_gateway", "gateway_timeout_after", "no_id", "not_json"}
    nights.faults()
    nights.stack.wait_out_doubt()
    run_id, state = nights.play()
    assert (state, nights.books(run_id)["total"]["planned"]) == ("success", 3000)
    assert [row for row in nights.stack.wrong_rows() if "POS-1" not in row] == []
    assert [one for one in lines(nights.stack.sandbox_url, "/sandbox/requests") if one["status"] == 429][1:] == []
    leaks, searched = _leaks(nights.stack)
    assert leaks == []
    assert {"airflow.db", "scheduler.log", "triggerer.log", f"jwo/runs/{run_name(run_id)}/books.json"} <= searched
    assert sum(name.endswith(".log") and "task_id=upload" in name for name in searched) > BATCHES


def test_the_search_finds_what_it_looks_for() -> None:
    """Each secret in each form, a presigned link, a signed request and a request body."""
    secret = {"the password": planted.PASSWORD}
    for form in planted.forms(planted.PASSWORD):
        assert planted.leaks("x", b"before " + form + b" after", secret)
    for text in (
        b"GET /r?X-Amz-Signature=1f", b"Credential: AWS4-HMAC-SHA256 x", b'{"catalogItems": []}',
        b'{"item_sku":"A","external_product_id":"4011"}',
    ):  # fmt: skip
        assert planted.leaks("x", text, {})
    assert planted.leaks("x", b"SKU-0001 was refused: INVALID_BARCODE", secret) == []


def _leaks(stack: KillStack) -> tuple[list[str], set[str]]:
    """Search every log, the whole metadata database (XCom, notes, audit log), and the lake but for what was sent.

    Returns what was found, and the names of what was searched.
    """
    state = stack.deployment.state
    secrets = {
        "the password of the POS": planted.PASSWORD,
        "the external id": planted.EXTERNAL_ID,
        "the AWS secret key": DEFAULT_SECRET,
        **{f"Airflow's {name}": value for name, value in vars(state.secrets()).items()},
    }
    things = [*planted.files(state.airflow_home), *planted.files(state.folder / "logs")]
    s3 = boto3.client(
        "s3", endpoint_url=f"http://{HOST}:{stack.deployment.ports.aws}", region_name="us-east-1",
        aws_access_key_id=DEFAULT_KEY, aws_secret_access_key=DEFAULT_SECRET,
    )  # fmt: skip
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="acme-catalog"):
        for key in (one["Key"] for one in page["Contents"]):
            if not key.endswith(".zst"):  # payloads and reports, as they went and came
                things.append((key, s3.get_object(Bucket="acme-catalog", Key=key)["Body"].read()))
    return [leak for name, data in things for leak in planted.leaks(name, data, secrets)], {name for name, _ in things}
