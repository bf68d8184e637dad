"""Connections, retries, options and the run's note, without a scheduler."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction

from catalog_airflow.connections import AirflowConnections
from catalog_airflow.context import conf_of, name_of, options_of
from catalog_airflow.pipeline import summary_of
from catalog_airflow.retry import ByRecovery
from catalog_sync import errors
from catalog_sync.account import Incomplete
from catalog_sync.run import Kind, Options
from catalog_sync.upload import UploadFailed


@pytest.mark.parametrize(
    "error",
    [
        errors.BadInput("x"), errors.Misconfigured("x"), errors.Superseded("x"), errors.BooksDoNotBalance("x"),
        Incomplete("x"), UploadFailed("x"),
    ],
)  # fmt: skip
def test_what_no_retry_can_mend_fails_at_once(error: Exception) -> None:
    """Our own errors, but for ``RetryLater``, end the task at its first try."""
    decision = ByRecovery().evaluate(error, try_number=1, max_tries=3)
    assert decision.action is RetryAction.FAIL
    assert type(error).__name__ in str(decision.reason)


@pytest.mark.parametrize(("after", "delay"), [(7.5, timedelta(seconds=7.5)), (0.0, timedelta(seconds=1)), (None, None)])
def test_retry_later_keeps_the_delay_that_it_names(after: float | None, delay: timedelta | None) -> None:
    """The delay of the error replaces the task's; without one the task's own counts."""
    decision = ByRecovery().evaluate(errors.RetryLater("busy", after=after), try_number=1, max_tries=3)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, delay)


def test_what_is_not_ours_is_left_to_the_task() -> None:
    """A lost connection to S3 follows the task's own ``retries``."""
    assert ByRecovery().evaluate(ConnectionError(), try_number=1, max_tries=3).action is RetryAction.DEFAULT


def test_the_policy_survives_being_written_down() -> None:
    """The policy can be rebuilt from its JSON."""
    assert isinstance(ByRecovery.deserialize(json.loads(json.dumps(ByRecovery().serialize()))), ByRecovery)


def test_a_connection_is_read_as_airflow_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API's base URL, region and role come from Airflow's connection."""
    value = {"conn_type": "http", "host": "https://api.example.com/prod", "extra": {"region_name": "us-west-2"}}
    monkeypatch.setenv("AIRFLOW_CONN_CATALOG_API", json.dumps(value))
    found = AirflowConnections().get("catalog_api")
    assert (found.base_url, found.extra) == ("https://api.example.com/prod", {"region_name": "us-west-2"})


def test_a_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the connection and where it could be added."""
    monkeypatch.delenv("AIRFLOW_CONN_NOWHERE", raising=False)
    with pytest.raises(errors.Misconfigured, match=r"'nowhere'.*AIRFLOW_CONN_NOWHERE"):
        AirflowConnections().get("nowhere")


def test_any_sql_connection_is_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PEP 249 connection comes from the connection's own hook, and is closed after use."""
    import sqlite3

    monkeypatch.setenv("AIRFLOW_CONN_ERP", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "erp.sqlite")}))
    with AirflowConnections().dbapi("erp") as connection:
        assert connection.execute("SELECT '007'").fetchone() == ("007",)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_a_connection_without_sql_is_no_sql_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking an AWS connection for SQL is a mistake that names the connection and its type."""
    monkeypatch.setenv("AIRFLOW_CONN_S3", json.dumps({"conn_type": "aws"}))
    with pytest.raises(errors.Misconfigured, match=r"'s3'.*'aws'.*no SQL"):
        AirflowConnections().dbapi("s3")


def test_the_endpoint_of_the_aws_connection_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, region and ``endpoint_url`` of the AWS connection reach every service."""
    value = {
        "conn_type": "aws", "login": "AKIAEXAMPLE", "password": "not-a-secret",
        "extra": {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:5"},
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(value))
    aws = AirflowConnections().aws("aws_default", "us-east-1")
    assert (aws.region, aws.endpoint_url) == ("eu-west-1", "http://127.0.0.1:5")
    assert aws.client("sqs").meta.endpoint_url == "http://127.0.0.1:5"
    assert aws.credentials().access_key == "AKIAEXAMPLE"


def test_runs_of_two_dags_never_share_a_name() -> None:
    """Airflow may give runs of two DAGs the same id; in the lake they are told apart; nightly ids stay."""
    names = {name_of(kind, "scheduled__2026-11-23") for kind in (Kind.NIGHT, Kind.BACKFILL, Kind.COLLECT)}
    assert len(names) == 3
    assert "scheduled__2026-11-23" in names


@pytest.mark.parametrize("run_id", [".", "..", ".hidden", "..%2F"])
def test_no_run_is_called_like_a_folder_or_hidden(run_id: str) -> None:
    """Such a name would be the folder of all runs, or one that nobody finds by its name."""
    assert re.fullmatch(r"_[A-Za-z0-9._-]+-[0-9a-f]{6}|_-[0-9a-f]{6}", name_of(Kind.NIGHT, run_id))
    assert name_of(Kind.NIGHT, "a.b") == "a.b"


def test_the_form_becomes_the_runs_options() -> None:
    """Blank lines of the form are dropped, and the count of follow-ups comes from what started the run."""
    form: dict[str, Any] = {
        "stores": ["SEA-001 ", ""],
        "skus": ["A"],
        "skus_file": " lake:list.csv ",
        "departments": ["Dairy"],
        "changed_since": "2026-11-27T18:00:00Z",
        "resend": True,
        "dry_run": False,
        "reason": "why",
    }
    assert options_of(Kind.BACKFILL, form, {"follow_up": 1}) == Options(
        Kind.BACKFILL,
        ("SEA-001",),
        ("A",),
        "lake:list.csv",
        ("Dairy",),
        "2026-11-27T18:00:00Z",
        resend=True,
        dry_run=False,
        reason="why",
        follow_up=1,
    )
    assert options_of(Kind.NIGHT, {}, None) == Options(Kind.NIGHT)


def test_a_backfill_of_everything_must_be_meant() -> None:
    """Two empty lists are refused unless 'everything' is ticked."""
    with pytest.raises(errors.BadInput, match="everything"):
        options_of(Kind.BACKFILL, {"stores": [], "skus": None}, None)
    assert options_of(Kind.BACKFILL, {"everything": True}, None).stores == ()


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        ({"resend": "false"}, "resend = 'false': must be true or false"),
        ({"dry_run": None}, "dry_run = None: must be true or false"),
        ({"dry_run": 0}, "dry_run = 0: must be true or false"),
        ({"everything": "no"}, "everything = 'no': must be true or false"),
        ({"skus": "ABC"}, "skus = 'ABC': must be a list of texts"),
        ({"skus": [7]}, r"skus = \[7\]: must be a list of texts"),
        ({"stores": {"SEA-001": 1}}, "stores = .*: must be a list of texts"),
        ({"stores": [" "]}, r"stores = \[' '\]: holds nothing but blanks"),
        ({"skus_file": ["a"]}, r"skus_file = \['a'\]: must be a text"),
    ],
)
def test_what_a_form_cannot_hold_is_not_guessed_at(form: dict[str, Any], rule: str) -> None:
    """Given as JSON, a text may stand where a tick is due: the error names the field, the value and the rule."""
    with pytest.raises(errors.BadInput, match=rule):
        options_of(Kind.BACKFILL, {"stores": ["S"], **form}, None)


@pytest.mark.parametrize("conf", [{"follow_up": "1"}, {"follow_up": True}, {"release": ["r"]}])
def test_what_is_on_no_form_is_not_guessed_at_either(conf: dict[str, Any]) -> None:
    """Follow-ups are counted, and a release names one run."""
    with pytest.raises(errors.BadInput, match=next(iter(conf))):
        options_of(Kind.BACKFILL, {"everything": True}, conf)


@pytest.mark.parametrize(
    ("dag_id", "conf", "hint"),
    [
        ("nightly_catalog_sync", {"dryrun": True}, "'dryrun' .*did you mean 'dry_run'"),
        ("nightly_catalog_sync", {"skus": ["A"]}, "'skus'"),
        ("nightly_catalog_sync", {"release": "r"}, "'release'"),
        ("backfill_catalog", {"to": "r"}, "'to'"),
        ("rollback_catalog", {"to": "r", "store": ["SEA-001"], "dry_run": False}, "'store' .*did you mean 'stores'"),
        ("collect_upload_results", {"dry_run": True}, "'dry_run'"),
        ("probe_catalog_api", {"canery": False}, "'canery' .*did you mean 'canary'"),
        ("redrive_dead_letters", {"wy": "FOREIGN"}, "'wy' .*did you mean 'why'"),
        ("release_held_changes", {"run": "r", "hash": "x"}, "'hash'"),
    ],
)
def test_a_misspelt_field_is_refused(dags: dict[str, Any], dag_id: str, conf: dict[str, Any], hint: str) -> None:
    """Else a run would send although ``dryrun`` was asked for, or roll back every store for one."""
    with pytest.raises(errors.BadInput, match=hint) as refused:
        conf_of(started(dags[dag_id], conf))
    assert f"is no field of {dag_id}" in str(refused.value)


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        ("nightly_catalog_sync", None),
        ("nightly_catalog_sync", {"stores": [], "dry_run": False, "reason": "", "follow_up": 1}),
        ("backfill_catalog", {"release": "r", "dry_run": False, "reason": "why", "follow_up": 1}),
        ("rollback_catalog", {"release": "r", "dry_run": False, "reason": "why", "to": "r", "stores": []}),
        ("rollback_catalog", {"to": "r", "stores": [], "dry_run": False, "reason": "why", "follow_up": 2}),
        ("collect_upload_results", {}),
        ("probe_catalog_api", {"canary": False}),
        ("redrive_dead_letters", {"why": None, "limit": 5, "dry_run": True}),
        ("release_held_changes", {"run": "r"}),
        # What another DAG's TriggerDagRunOperator adds by itself.
        ("nightly_catalog_sync", {"openlineage": {"parentRunId": "x"}}),
    ],
)
def test_what_our_own_runs_start_with_is_known(dags: dict[str, Any], dag_id: str, conf: dict[str, Any] | None) -> None:
    """Forms, follow-ups, releases and questions."""
    assert conf_of(started(dags[dag_id], conf)) == (conf or {})


def started(dag: Any, conf: dict[str, Any] | None) -> Any:
    """What a task sees of a run that was started with ``conf``."""
    return {"dag": dag, "dag_run": SimpleNamespace(dag_id=dag.dag_id, conf=conf)}


@pytest.mark.parametrize(
    "form",
    [{"stores": ["S"]}, {"skus": ["A"]}, {"skus_file": "lake:a"}, {"departments": ["D"]}, {"changed_since": "x"}],
)
def test_naming_anything_is_enough(form: dict[str, Any]) -> None:
    """Whatever chooses rows says that not everything is meant."""
    assert options_of(Kind.BACKFILL, {"everything": False, "skus_file": None, **form}, None)


def test_the_note_says_how_the_run_ended() -> None:
    """The note has the state, the columns that are not 0, and what is missing."""
    made = {"state": "incomplete", "dry_run": False, "run_id": "r", "problems": ["5 rows were not sent"]}
    made["total"] = {"read": 12_000, "unchanged": 0, "unsent": 5}
    assert summary_of(made) == "**incomplete**: 12,000 read, 5 unsent.\n\nRun `r`\n\n5 rows were not sent"


def test_the_first_line_of_a_note_tells_what_was_archived() -> None:
    """It is all that the UI shows of a note at once."""
    made: dict[str, Any] = {"state": "complete", "dry_run": False, "run_id": "r", "problems": [], "total": {"read": 9}}
    assert summary_of({**made, "archives": {"due": 2, "archived": 2}}).startswith(
        "**complete**: 9 read, 2 SKUs archived.\n"
    )


def test_a_note_tells_what_is_held_before_all_guards() -> None:
    """Twelve guards of six stores would fill it, and what matters would be cut off."""
    made: dict[str, Any] = {"state": "complete", "dry_run": False, "run_id": "r", "problems": [], "total": {"held": 9}}
    made["held"] = {"rows": 9, "by_code": {"GUARD_CHANGED": 9}, "since": 0}
    made["guards"] = [{"code": "GUARD_CHANGED", "message": f"S-{n}: 9 rows change"} for n in range(12)]
    assert summary_of(made).split("\n\n") == [
        "**complete**: 9 held.",
        "Run `r`",
        "held: 9 by GUARD_CHANGED, the oldest since 1970-01-01 00:00 UTC; answer in release_held_changes, or mend the "
        "source",
        *(f"guard GUARD_CHANGED: S-{n}: 9 rows change" for n in range(4)),
        "8 more guards have tripped: the plan has them all",
    ]


def test_the_note_has_the_alarms() -> None:
    """An alarm stands in the note of a green run, too; it names its runbook."""
    made = {"state": "complete", "dry_run": False, "run_id": "r", "problems": [], "total": {"read": 1}}
    made["alarms"] = ["no notice came; see docs/runbooks/lost-subscription.md"]
    assert summary_of(made) == (
        "**complete**: 1 read.\n\nRun `r`\n\nno notice came; see docs/runbooks/lost-subscription.md"
    )
