"""The probe against the sandbox: all well, and each check made to fail by a fault or a broken set-up."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.integration.conftest import QUEUE, TOPIC, Deployment, row

from catalog_sandbox.config import DEFAULT_KEY
from catalog_sync.alarms import Alarms
from catalog_sync.cli import INCOMPLETE, OK, main
from catalog_sync.clock import SystemClock
from catalog_sync.probe import Check, Status, probe, summary
from catalog_sync.probe.amazon import look_at_address
from catalog_sync.probe.ours import look_at_disk, look_at_queue

CANARY = {"probe": {"canary": {"store": "SEA-001", "sku": "SKU-1"}}}


class Off(SystemClock):
    """A clock that is wrong."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def time(self) -> float:
        """Return the wrong time."""
        return super().time() + self.seconds


def checks(deployment: Deployment, **changes: Any) -> dict[str, Check]:
    """Probe the deployment; return the checks by name."""
    return {check.name: check for check in probe(deployment.open("probe", **changes))}


def ends(found: dict[str, Check]) -> dict[str, str]:
    """How the checks ended that did not end well."""
    return {name: check.status.value for name, check in found.items() if check.status is not Status.OK}


def requests(deployment: Deployment) -> list[tuple[str, int]]:
    """What Amazon was asked."""
    return [(one["operation"], one["status"]) for one in deployment.lines("/sandbox/requests")]


def test_a_healthy_deployment(deployment: Deployment) -> None:
    """Before the first upload only the subscription cannot be known; after it all is well. Nothing is uploaded."""
    before = checks(deployment)
    assert ends(before) == {"subscription": "warn"}
    assert "no upload had a result yet" in before["subscription"].seen
    assert "role/CatalogApiCaller" in before["credentials"].seen.replace("assumed-role", "role")
    assert [status for operation, status in requests(deployment) if operation == "status"] == [400]
    deployment.sync("n1", [row(1)])
    after = checks(deployment)
    assert (ends(after), deployment.uploads()) == ({}, 1)
    assert after["subscription"].seen.startswith("notices came for 1 of 1 uploads")
    assert list(after) == [
        "address", "credentials", "permission", "subscription", "ledger", "lake", "disk", "queue", "queue_policy",
        "dead_letters", "channels",
    ]  # fmt: skip


def test_a_canary_goes_the_whole_way_and_disturbs_nothing(deployment: Deployment) -> None:
    """Sent, told of by a notice, acknowledged, booked; the catalog is as it was, and the next night sends nothing."""
    deployment.sync("n1", [row(1), row(2), row(1, "PDX-001")])
    before = deployment.catalog()
    found = checks(deployment, **CANARY)
    assert ends(found) == {}
    assert "SKU-1 in SEA-001 (run canary__" in found["canary"].seen
    assert "a notice told of it" in found["canary"].seen
    assert (deployment.uploads(), deployment.catalog()) == (2, before)
    night = deployment.sync("n2")
    assert (night["state"], night["total"]["unchanged"], deployment.uploads()) == ("complete", 3, 2)
    assert "canary" not in {check.name for check in probe(deployment.open("probe", **CANARY), canary=False)}


def test_a_canary_that_is_in_no_source_is_told(deployment: Deployment) -> None:
    """Nothing is sent of it; the check fails and says why."""
    deployment.write([row(2)])
    found = checks(deployment, **CANARY)["canary"]
    assert (found.status, found.seen.endswith("it is in no source"), deployment.uploads()) == ("fail", True, 0)


def test_a_canary_whose_notice_is_lost(deployment: Deployment) -> None:
    """The status API brings the result: a warning that names the runbook."""
    deployment.write([row(1)])
    deployment.faults(rates={"notice_lost": 1.0})
    found = checks(deployment, results=deployment.results(poll_after="3s"), **CANARY)
    assert (found["canary"].status, found["canary"].advice) == ("warn", "See docs/runbooks/lost-subscription.md.")
    deployment.faults()
    assert checks(deployment)["subscription"].status == "fail"


def test_a_forbidden_caller(deployment: Deployment) -> None:
    """403: the permission, and what to look at; everything else is still looked at."""
    deployment.faults(rates={"forbidden": 1.0})
    found = checks(deployment)
    assert ends(found) == {"permission": "fail", "subscription": "warn"}
    assert "FORBIDDEN (HTTP 403)" in found["permission"].seen
    assert "allowlisting" in found["permission"].advice


def test_wrong_keys(deployment: Deployment) -> None:
    """Keys that nobody has: no role with them, and no answer but a refusal; the secret is in no text."""
    value = json.loads(deployment.environ["AIRFLOW_CONN_CATALOG_API"])
    value |= {"login": "AKIANOBODY", "password": "not-the-secret"}
    value["extra"] |= {"role_arn": None}
    deployment.environ["AIRFLOW_CONN_CATALOG_API"] = json.dumps(value)
    found = checks(deployment)
    assert found["permission"].status == "fail"
    assert "not-the-secret" not in str(found)


def test_an_address_where_nobody_listens(deployment: Deployment) -> None:
    """The host is named, and what to mend."""
    value = json.loads(deployment.environ["AIRFLOW_CONN_CATALOG_API"]) | {"host": "http://127.0.0.1:1"}
    deployment.environ["AIRFLOW_CONN_CATALOG_API"] = json.dumps(value)
    found = checks(deployment)
    assert (found["address"].status, found["permission"].status) == ("fail", "fail")
    assert found["address"].seen == "127.0.0.1: ConnectError"


@pytest.mark.parametrize(("seconds", "status"), [(30.0, "warn"), (-30.0, "warn"), (600.0, "fail"), (-600.0, "fail")])
def test_a_clock_that_is_off(deployment: Deployment, seconds: float, status: str) -> None:
    """Compared with Amazon's; a few seconds are a warning, minutes a failure."""
    run = deployment.open("probe")
    run.clock = Off(seconds)
    found = look_at_address(run)
    shown, way = re.findall(r"our clock is ([\d.]+) s (ahead|behind)", found.seen)[0]
    assert (found.status, way) == (status, "ahead" if seconds > 0 else "behind")
    # Less than the five seconds that count as agreeing.
    assert abs(float(shown) - abs(seconds)) < 5


def test_a_missing_connection(deployment: Deployment) -> None:
    """The connection is named by each check that needs it."""
    del deployment.environ["AIRFLOW_CONN_CATALOG_API"]
    found = checks(deployment)
    assert {name for name in ends(found) if "catalog_api" in found[name].seen} == {
        "address",
        "credentials",
        "permission",
    }


def test_a_queue_that_was_unsubscribed(deployment: Deployment) -> None:
    """What a message told earlier counts."""
    Alarms.of(deployment.open("n1")).unsubscribed(1_790_000_000.0)
    found = checks(deployment)["subscription"]
    assert (found.status, "unsubscribed.md" in found.advice) == ("fail", True)


def test_a_queue_that_is_not_there(deployment: Deployment) -> None:
    """Each check of it fails, and says which error AWS gave."""
    results = deployment.results(queue="nowhere")
    found = checks(deployment, results=results)
    assert set(ends(found)) >= {"queue", "queue_policy", "dead_letters"}
    assert "NonExistentQueue" in found["queue"].seen


def policy_of(deployment: Deployment) -> tuple[Any, str, dict[str, Any]]:
    """The queue's client, its address and its policy."""
    sqs = deployment.services.aws.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
    return sqs, url, json.loads(told["Policy"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Condition": {"ArnEquals": {"aws:SourceArn": TOPIC + "Other"}}}, "fail"),
        ({"Condition": {}}, "fail"),
        ({"Effect": "Deny"}, "fail"),
        ({"Principal": "*"}, "fail"),
        ({}, "warn"),
    ],
)
def test_a_policy_that_is_not_the_templates(deployment: Deployment, change: dict[str, Any], status: str) -> None:
    """Another topic, no condition, a denial, everybody: the topic cannot send. One statement more: others can, too."""
    sqs, url, policy = policy_of(deployment)
    changed = json.loads(json.dumps(policy))
    changed["Statement"][0] |= change
    if not change:
        changed["Statement"].append({**policy["Statement"][0], "Sid": "Everybody", "Principal": "*"})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(changed)})
    try:
        found = checks(deployment)["queue_policy"]
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    assert (found.status, "AllowSNSToSendMessage" in found.advice) == (status, True)


def test_dead_letters_and_waiting_notices(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead letter is a warning with its runbook; so are notices that nobody reads."""
    sqs, url, _ = policy_of(deployment)
    dead = sqs.get_queue_url(QueueName=f"{QUEUE}-dlq")["QueueUrl"]
    sqs.send_message(QueueUrl=dead, MessageBody="{}")
    found = checks(deployment)["dead_letters"]
    sqs.purge_queue(QueueUrl=dead)
    assert (found.status, "1 dead letters" in found.seen, "dead-letters.md" in found.advice) == ("warn", True, True)
    monkeypatch.setattr("catalog_sync.probe.ours.WAITING", 1)
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    waits = look_at_queue(deployment.open("probe"))
    sqs.purge_queue(QueueUrl=url)
    assert (waits.status, "collect_upload_results" in waits.advice) == ("warn", True)


def test_a_ledger_and_a_lake_that_are_not_there(deployment: Deployment) -> None:
    """Each names itself; the table's error says where the table comes from."""
    found = checks(deployment, ledger={"table": "Nowhere"}, lake="s3://no-such-bucket/x")
    assert (found["ledger"].status, found["lake"].status) == ("fail", "fail")
    assert "'Nowhere'" in found["ledger"].seen


@pytest.mark.parametrize(("free", "status"), [(100 * 1024**2, "fail"), (1024**3, "warn"), (100 * 1024**3, "ok")])
def test_a_disk_that_is_nearly_full(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    """Below what must stay free a night fails; below 2 GiB it may not end."""
    monkeypatch.setattr("catalog_sync.probe.ours.free_bytes", lambda folder: free)
    assert look_at_disk(deployment.open("probe")).status == status


def test_a_channel_without_its_connection(deployment: Deployment) -> None:
    """Only channels that are in use are looked at: for notices, for alerts, and the heartbeat's address."""
    notify = {"channels": {"shop": {"kind": "slack", "conn_id": "nowhere"}}, "stores": ["shop"]}
    found = checks(deployment, notify=notify)["channels"]
    assert (found.status, "shop (nowhere)" in found.seen) == ("warn", True)
    unused = {"channels": notify["channels"]}
    assert checks(deployment, notify=unused)["channels"].status == "ok"
    alerts = {"routes": {"critical": "shop"}, "heartbeat": {"ping_conn_id": "watcher"}}
    found = checks(deployment, notify=unused, alerts=alerts)["channels"]
    assert (found.status, "shop (nowhere), alerts.heartbeat (watcher)" in found.seen) == ("warn", True)
    deployment.environ |= {f"AIRFLOW_CONN_{name}": '{"host": "https://x.example"}' for name in ("NOWHERE", "WATCHER")}
    found = checks(deployment, notify=unused, alerts=alerts)["channels"]
    assert (found.status, found.seen) == ("ok", "in use: shop, alerts.heartbeat; no channel for warning alerts")


def test_every_request_has_a_ticket(deployment: Deployment) -> None:
    """I3 holds beside a night: what the probe asks takes tickets, too."""
    run = deployment.open("probe")
    taken = []
    put = run.ledger.client.put_item
    run.ledger.client.put_item = lambda **request: taken.append(request["Item"]["pk"]["S"]) or put(**request)
    probe(run)
    assert sum(key.startswith("RATE#") for key in taken) >= 2


def test_the_command(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table, or JSON; the exit code says whether a check failed."""
    for name, value in deployment.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    deployment.settings()
    config = ["--config", str(deployment.folder / "catalog.yaml"), "probe"]
    assert main(config) == OK
    shown = capsys.readouterr().out
    assert "queue_policy" in shown
    deployment.faults(rates={"forbidden": 1.0})
    assert main([*config, "--json"]) == INCOMPLETE
    made = json.loads(capsys.readouterr().out)
    assert made["status"] == "fail"
    assert [one["name"] for one in made["checks"] if one["status"] == "fail"] == ["permission"]
    assert DEFAULT_KEY not in shown


def test_the_note_is_short() -> None:
    """How many ended how, and what is not well with what to do."""
    made = [Check("a", Status.OK, "fine"), Check("b", Status.FAIL, "gone", "Mend it.")]
    assert summary(made) == "**fail**: 1 ok, 1 fail\n\n`b` **fail**: gone. Mend it."
