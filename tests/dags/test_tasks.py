"""What tasks show in Airflow's own pages: links, the plan, names of mapped tasks, notes; and what they tell lineage."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DagRunTriggerException
from airflow.serialization.serialized_objects import DagSerialization

from catalog_airflow import tasks
from catalog_airflow.context import label
from catalog_airflow.links import CatalogPageLink, LakeLink, RunbookLink, StartedRunLink, lake_address
from catalog_airflow.listeners import NOTE_LIMIT, shortened
from catalog_airflow.operators import AskForRelease, started_id
from catalog_airflow.pipeline import summary_of
from catalog_sync.alerts.kinds import ABOUT

ROOT = Path(__file__).resolve().parents[2]
SYNC = ["nightly_catalog_sync", "backfill_catalog"]
LINKED = {"extract", "plan", "upload", "collect_results", "settle", "account"}
KEY = SimpleNamespace(dag_id="nightly_catalog_sync", run_id="manual__2026-11-23T02:30:00+00:00", task_id="upload")


@pytest.mark.parametrize("dag_id", SYNC)
def test_tasks_link_to_their_run(dags: dict[str, Any], dag_id: str) -> None:
    """The Catalog page and the lake, on each task that sends or judges, as the API server knows the DAG: written."""
    written = DagSerialization.from_dict(DagSerialization.to_dict(dags[dag_id]))
    for task_id in LINKED:
        assert set(written.get_task(task_id).extra_links) == {"Catalog page", "Files in the lake", "Runbook"}, task_id


def test_the_page_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are quoted; the address is that under which people open the UI."""
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team/")
    assert CatalogPageLink().get_link(object(), ti_key=KEY) == (
        "https://airflow.example.com/team/dags/nightly_catalog_sync/runs/manual__2026-11-23T02%3A30%3A00%2B00%3A00"
        "/plugin/catalog-run"
    )


def test_a_run_is_started_once_and_linked() -> None:
    """What a task starts is called after its own run, so that a cleared one starts no other; the task links to it."""
    asked = AskForRelease(task_id="ask_for_release", kind="night")
    assert StartedRunLink().get_link(asked, ti_key=KEY) == ""
    ti = SimpleNamespace(xcom_pull=lambda **_: {"held": 3}, get_dr_count=lambda dag_id, run_ids: 0)
    with pytest.raises(DagRunTriggerException) as started:
        asked.execute({"ti": ti, "dag_run": SimpleNamespace(run_id="scheduled__2026-11-28T02:00:00+00:00")})
    assert started.value.trigger_dag_id == "release_held_changes"
    assert started.value.dag_run_id == "held__scheduled__2026-11-28T02:00:00+00:00"
    assert started.value.skip_when_already_exists
    link = StartedRunLink().get_link(asked, ti_key=KEY)
    assert link.endswith("/dags/release_held_changes/runs/held__scheduled__2026-11-28T02%3A00%3A00%2B00%3A00")


def test_what_was_started_before_is_not_taken_for_missing() -> None:
    """Airflow skips a task whose run exists without a word, and the question would be red while that run sends."""
    left: dict[str, str] = {}
    asked = AskForRelease(task_id="ask_for_release", kind="night")
    ti = SimpleNamespace(
        xcom_pull=lambda **_: {"held": 3},
        xcom_push=lambda key, value: left.update({key: value}),
        get_dr_count=lambda dag_id, run_ids: int((dag_id, run_ids) == ("release_held_changes", ["held__r1"])),
    )
    with pytest.raises(AirflowSkipException, match="held__r1 of release_held_changes"):
        asked.execute({"ti": ti, "dag_run": SimpleNamespace(run_id="r1")})
    assert left == {"trigger_run_id": "held__r1"}
    assert StartedRunLink().get_link(asked, ti_key=KEY).endswith("/dags/release_held_changes/runs/held__r1")


def test_the_id_of_a_started_run_fits_and_stays_the_same() -> None:
    """Airflow takes 250 characters, and the run that starts another may itself have as many."""
    long, other = (started_id("release", f"held__{'x' * 243}{end}") for end in "ab")
    assert len(long) == len(other) == 250
    assert long != other
    assert long == started_id("release", f"held__{'x' * 243}a")
    assert long.startswith("release__held__xxx")
    assert started_id("held", "r" * 244) == f"held__{'r' * 244}"


def test_the_name_of_a_mapped_task_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow keeps 250 characters of it; a database that minds would fail the task once its work is done."""
    made: dict[str, Any] = {}
    monkeypatch.setattr("catalog_airflow.context.get_current_context", lambda: made)
    label(f"shard: {'S' * 200} … {'T' * 200}")
    assert made["label"].startswith("shard: SSS")
    assert len(made["label"]) == 250
    label("erp")
    assert made["label"] == "erp"


def test_the_files_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """In S3 the console shows what the task wrote; a folder has no address for a browser."""
    settings: Any = SimpleNamespace(lake="s3://acme-catalog/jwo", aws=SimpleNamespace(region="us-west-2"))
    monkeypatch.setattr("catalog_sync.settings.load", lambda: settings)
    link = LakeLink().get_link(SimpleNamespace(op_kwargs={"kind": "night"}), ti_key=KEY)
    assert re.fullmatch(
        r"https://us-west-2\.console\.aws\.amazon\.com/s3/buckets/acme-catalog\?region=us-west-2"
        r"&prefix=jwo/runs/manual__2026-11-23T02_30_00_00_00-[0-9a-f]{6}/batches/",
        link,
    )
    settings.lake = "/var/lib/catalog"
    assert lake_address(settings, "runs/r1/") == ""


def test_the_runbook_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the runbooks are published, each task leads to one that exists; a folder has no address for a browser."""
    settings: Any = SimpleNamespace(alerts=SimpleNamespace(runbooks="https://wiki.example.com/jwo/"))
    monkeypatch.setattr("catalog_sync.settings.load", lambda: settings)
    for task_id in LINKED:
        link = RunbookLink().get_link(object(), ti_key=SimpleNamespace(task_id=task_id))
        assert link.startswith("https://wiki.example.com/jwo/")
        assert link.rpartition("/")[2] in {about.runbook for about in ABOUT.values()}
    settings.alerts.runbooks = "docs/runbooks"
    assert RunbookLink().get_link(object(), ti_key=KEY) == ""


@pytest.mark.parametrize("dag_id", SYNC)
def test_every_mapped_task_names_its_instances(dags: dict[str, Any], dag_id: str) -> None:
    """A row of numbers tells nobody which source, shard or batch is red."""
    mapped = [task for task in dags[dag_id].tasks if task.is_mapped]
    assert {task.partial_kwargs.get("map_index_template") for task in mapped} == {"{{ label }}"}


@pytest.mark.parametrize("dag_id", SYNC)
def test_the_plan_is_among_the_rendered_templates(dags: dict[str, Any], dag_id: str) -> None:
    """Airflow writes it down once the task has run."""
    plan = dags[dag_id].get_task("plan")
    assert "rendered_plan" in plan.template_fields
    assert plan.overwrite_rtif_after_execution


def test_a_long_plan_is_shown_up_to_a_whole_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow would cut it anywhere, and say only that it did."""
    task: Any = SimpleNamespace()
    monkeypatch.setattr(tasks, "get_current_context", lambda: {"task": task})
    tasks.show_plan("short")
    assert task.rendered_plan == "short"
    tasks.show_plan("| SEA-001 | 12 |\n" * 1000)
    assert len(task.rendered_plan) < 4096
    *lines, empty, rest = task.rendered_plan.split("\n")
    assert set(lines) == {"| SEA-001 | 12 |"}
    assert (empty, rest) == ("", "… the rest is in the task's log.")


def test_a_note_ends_with_a_whole_sentence() -> None:
    """At most as long as Airflow takes, with guards, held rows and alarms before it is cut."""
    made: dict[str, Any] = {"state": "complete", "dry_run": False, "run_id": "r", "problems": [], "total": {"read": 9}}
    made["alarms"] = ["No notice came for 14 of 14 uploads; see docs/runbooks/lost-subscription.md"]
    made["alarms"] += [f"Messages that became dead letters: {n}; see docs/runbooks/dead-letters.md" for n in range(20)]
    made["guards"] = [
        {"code": f"CHANGED_STORE_{n}", "message": "Too many rows changed at once. Held."} for n in range(30)
    ]
    whole = summary_of(made)
    assert len(whole) > NOTE_LIMIT
    note = shortened(whole)
    assert len(note) <= NOTE_LIMIT
    kept, rest = note.split("\n\n… ")
    assert rest == "the rest is in the log of `account`."
    assert whole.startswith(kept)
    assert kept.endswith((".", "md"))
    assert "lost-subscription" in kept
    assert shortened("short") == "short"
    assert len(shortened("x" * 5000)) == NOTE_LIMIT


def test_every_dag_leads_to_its_pages(dags: dict[str, Any]) -> None:
    """The manual of each DAG names the runbooks or pages of its own troubles, and they exist."""
    for dag_id, dag in dags.items():
        named = re.findall(r"docs/[a-z/-]+\.md", dag.doc_md or "")
        assert named, dag_id
        for page in named:
            assert (ROOT / page).is_file(), (dag_id, page)


def test_lineage_tells_rows_and_the_plan() -> None:
    """Datasets keep their names from run to run; counts and the plan's hash are facets."""
    from catalog_airflow.lineage import lineage_of

    told = {
        "run_id": "r1", "lake": "s3://acme/jwo", "inputs": ["plan"], "catalog": 7, "state": "complete",
        "rows": {"read": 9, "acknowledged": 7}, "plan_number": 3, "plan_hash": "sha256:ab",
    }  # fmt: skip
    made = lineage_of(told)
    [catalog] = made.outputs
    assert (catalog.namespace, catalog.name, catalog.outputFacets["outputStatistics"].rowCount) == (
        "x-jwo",
        "catalog",
        7,
    )
    assert [(one.namespace, one.name) for one in made.inputs] == [("s3://acme/jwo", "plan")]
    facet = made.run_facets["catalog"]
    assert (facet.planHash, facet.rows) == ("sha256:ab", {"read": 9, "acknowledged": 7})
    read = lineage_of({"run_id": "r1", "lake": "l", "sources": {"erp": 9}, "outputs": {"extract/erp": 8}})
    assert read.inputs[0].inputFacets["inputStatistics"].rowCount == 9
    assert read.outputs[0].outputFacets["outputStatistics"].rowCount == 8
    assert lineage_of({}).outputs == []


@pytest.mark.parametrize(("held_nothing", "ends"), [(True, AirflowSkipException), (None, AirflowFailException)])
def test_a_question_that_nobody_was_asked_is_red_unless_nothing_is_held(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch, held_nothing: bool | None, ends: type[Exception]
) -> None:
    """The last task decides the run's state: it must not be green when ``show_held`` could not read the run."""
    left = {("show_held", "nothing"): held_nothing}
    ti = SimpleNamespace(xcom_pull=lambda task_ids, key="return_value": left.get((task_ids, key)))
    monkeypatch.setattr("catalog_airflow.release.get_current_context", lambda: {"ti": ti})
    with pytest.raises(ends):
        dags["release_held_changes"].get_task("record_answer").python_callable()
