"""The nightly DAG as Airflow runs it, task by task, against the sandbox: how the run ends, and what the books say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Deployment, row

from catalog_local.airflow import migrate
from catalog_sync.run import Run, run_name

pytestmark = pytest.mark.filterwarnings(
    # Starlette's own, through Airflow's in-process API: its test client would rather have another HTTP library.
    "ignore:Using `httpx` with `starlette.testclient`"
)

ROOT = Path(__file__).resolve().parents[2]
ROWS = [row(n, store) for n in range(5) for store in ("SEA-001", "PDX-001")]
#: Three rows a batch: the ten rows make four batches.
SMALL = {"max_items": 3}


@pytest.fixture(scope="module")
def database() -> None:
    """Airflow's metadata database, made once."""
    migrate(os.environ)


class Nights:
    """Nightly runs of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.state = ""
        self.tasks: dict[str, set[str]] = {}
        self.run_id = ""

    def run(self, dag_id: str = "nightly_catalog_sync", **form: Any) -> dict[str, Any]:
        """Run the DAG to its end; return its books, or what they are so far."""
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(ROOT / "dags"))
        assert not bag.import_errors
        dag = bag.dags[dag_id]
        # ``dag.test`` of 3.3.2 looks its deadlines up by ids that only a scheduler gives them, and fails.
        dag.deadline = None
        ended = dag.test(run_conf=form, logical_date=None)
        self.state, self.run_id = str(ended.state), ended.run_id
        self.tasks = {}
        for instance in ended.get_task_instances():
            self.tasks.setdefault(instance.task_id, set()).add(str(instance.state))
        return self.books(run_name(ended.run_id))

    def books(self, name: str) -> dict[str, Any]:
        """Return the books that the run left."""
        mine = self.deployment.open("any")
        run = Run(
            mine.settings, mine.connections, name, mine.asked, mine.clock, mine.lake, mine.ledger, mine.aws, mine.token
        )
        for key in ("books.json", "books-incomplete.json"):
            if run.lake.exists(run.key(key)):
                return dict(run.lake.get_json(run.key(key)))
        return {}


@pytest.fixture
def nights(database: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Nights:
    """Nightly runs of a fresh deployment, whose connections Airflow finds in the environment."""
    for name, value in deployment.environ.items():
        monkeypatch.setenv(name, value)
    deployment.raw["api"] = SMALL
    deployment.raw["retailer"] = deployment.name
    deployment.settings()
    monkeypatch.setenv("CATALOG_CONFIG", str(deployment.folder / "catalog.yaml"))
    return Nights(deployment)


def counts(made: dict[str, Any]) -> dict[str, int]:
    """The columns of the books that are not zero."""
    return {column: rows for column, rows in made["total"].items() if rows}


def test_a_night_and_a_night_without_changes(nights: Nights) -> None:
    """The first night sends all; the second has no batch, sends nothing, and still collects, settles and accounts."""
    nights.deployment.write(ROWS)
    made = nights.run(reason="first")
    assert nights.state == "success"
    assert counts(made) == {"read": 10, "planned": 10, "sent": 10, "acknowledged": 10}
    skipped = {"start_follow_up", "ask_for_release"}
    assert {task for task, states in nights.tasks.items() if states == {"skipped"}} == skipped
    assert set().union(*(states for task, states in nights.tasks.items() if task not in skipped)) == {"success"}
    assert len(nights.deployment.catalog()) == 10
    sent = nights.deployment.uploads()

    made = nights.run()
    assert nights.state == "success"
    assert counts(made) == {"read": 10, "unchanged": 10}
    assert (nights.tasks["upload"], nights.tasks["collect_results"], nights.tasks["settle"]) == (
        {"skipped"}, {"success"}, {"success"},
    )  # fmt: skip
    assert nights.deployment.uploads() == sent


def test_one_failed_batch(nights: Nights) -> None:
    """The other batches are collected and acknowledged; the run fails and says that three rows failed."""
    nights.deployment.write(ROWS[:9])  # three batches of three: which one meets the fault does not matter
    nights.deployment.faults(script=[{"fault": "server_error_final"}])
    made = nights.run()
    assert nights.state == "failed"
    assert nights.tasks["upload"] == {"success", "failed"}
    assert (nights.tasks["collect_results"], nights.tasks["settle"], nights.tasks["account"]) == (
        {"success"}, {"success"}, {"failed"},
    )  # fmt: skip
    assert (made["state"], made["total"]["acknowledged"], made["total"]["failed"]) == ("incomplete", 6, 3)


def test_every_batch_failed(nights: Nights) -> None:
    """Nothing is acknowledged, and the books say so; the night after makes it good."""
    nights.deployment.write(ROWS)
    nights.deployment.faults(rates={"server_error_final": 1.0})
    made = nights.run()
    assert (nights.state, nights.tasks["upload"], nights.tasks["account"]) == ("failed", {"failed"}, {"failed"})
    assert counts(made) == {"read": 10, "planned": 10, "sent": 10, "failed": 10}
    nights.deployment.faults()
    made = nights.run()
    assert (nights.state, made["total"]["acknowledged"]) == ("success", 10)


def test_forbidden(nights: Nights) -> None:
    """A 403 halts the sending at once, without a retry; the run fails with all rows unsent."""
    nights.deployment.write(ROWS)
    nights.deployment.faults(rates={"forbidden": 1.0})
    made = nights.run()
    assert (nights.state, nights.tasks["upload"], nights.tasks["collect_results"]) == (
        "failed",
        {"failed"},
        {"success"},
    )
    assert (made["state"], made["total"]["unsent"]) == ("incomplete", 10)
    assert nights.deployment.uploads() == 1


def test_no_plan(nights: Nights) -> None:
    """A store that does not exist fails before the plan; the run still accounts, fails, and nothing is sent."""
    nights.deployment.write(ROWS)
    made = nights.run(stores=["NOWHERE"])
    assert nights.state == "failed"
    assert (nights.tasks["plan"], nights.tasks["upload"]) == ({"upstream_failed"}, {"upstream_failed"})
    assert nights.tasks["account"] == {"failed"}
    assert made == {} or made["state"] == "incomplete"
    assert nights.deployment.uploads() == 0


def test_a_dry_run(nights: Nights) -> None:
    """It stops after the plan, succeeds, and its books show what would have been sent."""
    nights.deployment.write(ROWS)
    made = nights.run(dry_run=True)
    assert nights.state == "success"
    skipped = {task for task, states in nights.tasks.items() if states == {"skipped"}}
    assert skipped == {"upload", "collect_results", "settle", "send_notices", "start_follow_up", "ask_for_release"}
    assert counts(made) == {"read": 10, "planned": 10, "unsent": 10}
    assert nights.deployment.uploads() == 0


def test_fatal_starts_a_follow_up(nights: Nights) -> None:
    """When Amazon gives an upload up, one fresh run of the same DAG is started, with the same form and a count."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    nights.deployment.write(ROWS[:2])
    nights.deployment.faults(script=[{"fault": "fatal"}])
    nights.run(reason="try")
    assert (nights.state, nights.tasks["start_follow_up"]) == ("failed", {"success"})
    with create_session() as session:
        [started] = session.scalars(select(DagRun).where(DagRun.run_id == f"follow_up__{nights.run_id}"))
        assert (started.dag_id, started.conf["follow_up"], started.conf["reason"]) == ("nightly_catalog_sync", 1, "try")
        session.delete(started)


def test_the_hourly_job_settles_what_a_killed_run_left(nights: Nights) -> None:
    """Results that no run waits for any more are collected and settled, and the next night finds nothing to send."""
    from catalog_sync.extract import extract
    from catalog_sync.plan import plan
    from catalog_sync.prepare import prepare
    from catalog_sync.shards import shards
    from catalog_sync.upload import upload

    nights.deployment.write(ROWS[:2])
    run = nights.deployment.open("killed")
    extract(run, "erp")
    for shard in shards(run):
        prepare(run, shard)
    upload(run, plan(run)["groups"][0])
    nights.run("collect_upload_results")
    stages = ("collect_results", "settle", "send_notices", "tell_alerts")
    assert (nights.state, nights.tasks) == ("success", {stage: {"success"} for stage in stages})
    assert counts(nights.run()) == {"read": 2, "unchanged": 2}


def test_dead_letters_are_shown_and_then_sent_back(nights: Nights) -> None:
    """The form as it is changes nothing; with the dry run unticked they are in the queue again, to be judged anew."""
    services = nights.deployment.services
    sqs = services.aws.client("sqs")
    queue, dead = services.outputs["QueueUrl"], services.outputs["DeadLetterQueueUrl"]
    sqs.purge_queue(QueueUrl=dead)
    sqs.send_message(QueueUrl=dead, MessageBody="no json")

    def dead_letters() -> int:
        name = "ApproximateNumberOfMessages"
        return int(sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=[name])["Attributes"][name])

    def sent_back() -> bool:
        # Notices of other tests may still come in beside it.
        found: list[str] = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0).get(
            "Messages"
        ):
            found += [message["Body"] for message in messages]
        return "no json" in found

    nights.run("redrive_dead_letters")
    assert (nights.state, nights.tasks) == ("success", {"redrive": {"success"}})
    assert (sent_back(), dead_letters()) == (False, 1)
    nights.run("redrive_dead_letters", dry_run=False, why="MOVED_BY_SQS")
    assert nights.state == "success"
    assert (sent_back(), dead_letters()) == (True, 0)
    sqs.purge_queue(QueueUrl=queue)


def test_the_stores_are_told_once(nights: Nights) -> None:
    """Through Airflow's hook and an SNS topic; when the night is run again without changes, nothing."""
    aws = nights.deployment.services.aws
    sns, sqs = aws.client("sns"), aws.client("sqs")
    topic, queue = sns.create_topic(Name="told")["TopicArn"], sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    channels = {"shops": {"kind": "sns", "topic_arn": topic}}
    nights.deployment.settings(notify={"channels": channels, "stores": ["shops"], "sources": ["shops"]})
    nights.deployment.write(ROWS)
    nights.run()
    assert (nights.state, nights.tasks["send_notices"]) == ("success", {"success"})
    nights.run()
    got: list[str] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        got += [json.loads(message["Body"])["Subject"] for message in messages]
    stores = {one["store_no"] for one in ROWS}
    assert sorted(got) == sorted(f"Store {store}: {len(ROWS) // len(stores)} added" for store in stores)


def test_the_probe_is_red_when_a_check_fails(nights: Nights) -> None:
    """Green with its canary; red, and still with all its findings, when Amazon refuses us."""
    nights.deployment.write(ROWS)
    sku, store = ROWS[0]["item_no"], ROWS[0]["store_no"]
    nights.deployment.settings(probe={"canary": {"sku": sku, "store": store}})
    nights.run("probe_catalog_api")
    assert (nights.state, nights.tasks) == ("success", {"probe": {"success"}})
    assert list(nights.deployment.catalog()) == [(store, sku)]
    nights.deployment.faults(rates={"forbidden": 1.0})
    nights.run("probe_catalog_api", canary=False)
    assert (nights.state, nights.tasks) == ("failed", {"probe": {"failed"}})
    assert nights.deployment.uploads() == 1


def test_a_run_without_its_pool_is_told_of(database: None) -> None:
    """Airflow calls back for what it fails itself; for what the listener fails, it does. The scheduler commits."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from airflow.models.db_callback_request import DbCallbackRequest
    from airflow.models.pool import Pool
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import prohibit_commit
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import delete, select

    from catalog_airflow import listeners

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(DagBag(str(ROOT / "dags")), "dags-folder", None)
    with create_session() as session:
        dag = SerializedDagModel.get("nightly_catalog_sync", session=session).dag  # type: ignore[union-attr]
        run = DagRun(
            dag_id=dag.dag_id, run_id="manual__no_pool", run_type=DagRunType.MANUAL, state=DagRunState.RUNNING,
            triggered_by=DagRunTriggeredByType.TEST,
        )  # fmt: skip
        run.dag = dag
        run.created_dag_version = DagVersion.get_latest_version(dag.dag_id, session=session)
        session.add(run)
        session.flush()
        with prohibit_commit(session):
            session.execute(delete(Pool).where(Pool.pool == "catalog_api"))
            listeners.on_dag_run_running(run, "")
            session.flush()
            [kept] = session.scalars(select(DbCallbackRequest))
            told = kept.get_callback_request()
        assert (run.state, told.is_failure_callback, told.dag_id, told.run_id) == (
            DagRunState.FAILED, True, "nightly_catalog_sync", "manual__no_pool",
        )  # fmt: skip
        assert "The pool catalog_api does not exist" in run.note
        assert told.msg == "a pool that its tasks need does not exist"
        session.rollback()
