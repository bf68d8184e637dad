"""What holds for every DAG there is, and a planted DAG that breaks all of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from catalog_airflow.defaults import Tag
from catalog_airflow.operators import RELEASE_DAG
from catalog_airflow.retry import ByRecovery

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 120


def problems_of(dag: Any) -> list[str]:
    """Return which of the house's rules the DAG breaks, each with what to do."""
    file = Path(dag.fileloc)
    rules = {
        f"tags {sorted(dag.tags)}: take them from catalog_airflow.defaults.Tag, just-walk-out among them": (
            set(dag.tags) <= set(Tag) and Tag.JUST_WALK_OUT in dag.tags
        ),
        "max_active_runs: must be 1; one run sends at a time, and only a question sends nothing": (
            (dag.max_active_runs == 1) is (dag.dag_id != RELEASE_DAG)
        ),
        "catchup: must be off; sources only show today": dag.catchup is False and "catchup=" in file.read_text(),
        "dagrun_timeout: set it, or a hanging run blocks the next night": dag.dagrun_timeout is not None,
        "allowed_run_types: must leave out Airflow's backfill": (
            bool(dag.allowed_run_types) and not {"backfill", "asset_triggered"} & set(dag.allowed_run_types)
        ),
        "doc_md: must be the module's docstring, with what to do when the run is red": (
            bool(dag.doc_md) and "When it is red" in dag.doc_md
        ),
        f"{file.name}: at most {MOST_LINES} lines; logic belongs in catalog_sync": (
            len(file.read_text().splitlines()) <= MOST_LINES
        ),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    for task in dag.tasks:
        rules = {
            "owner: set it": task.owner not in ("", "airflow"),
            "retries: at least 1": task.retries >= 1,
            "retry_policy: must be ByRecovery, or errors that no retry can help are retried": isinstance(
                task.partial_kwargs.get("retry_policy") if task.is_mapped else task.retry_policy, ByRecovery
            ),
            "execution_timeout: set it": task.execution_timeout is not None,
            "map_index_template: name the indices of a mapped task": (
                not task.is_mapped or bool(task.partial_kwargs.get("map_index_template"))
            ),
        }
        broken += [f"{task.task_id}: {rule}" for rule, holds in rules.items() if not holds]
    return broken


def test_every_dag_keeps_the_rules(dags: dict[str, Any]) -> None:
    """No DAG breaks a rule of the house."""
    assert {dag_id: problems_of(dag) for dag_id, dag in dags.items()} == {dag_id: [] for dag_id in dags}


def test_a_careless_dag_breaks_them_all(parse: Callable[[Path], Any], tmp_path: Path) -> None:
    """The rules can fail: a DAG with Airflow's defaults breaks every one of them."""
    (tmp_path / "careless.py").write_text(
        "from airflow.sdk import dag, task\n"
        "@task\ndef work(x): ...\n"
        "@dag(tags=['mine'])\ndef careless():\n    work.expand(x=[1])\n"
        "careless()\n" + "#\n" * 130
    )
    [dag] = parse(tmp_path).dags.values()
    problems = problems_of(dag)
    rules = (
        "tags ",
        "max_active_runs:",
        "catchup:",
        "dagrun_timeout:",
        "allowed_run_types:",
        "doc_md:",
        "careless.py:",
    )
    rules += ("work: owner:", "work: retries:", "work: retry_policy:", "work: execution_timeout:")
    rules += ("work: map_index_template:",)
    assert [problem.startswith(rule) for problem, rule in zip(problems, rules, strict=True)] == [True] * len(rules)


def test_every_form_field_is_explained(dags: dict[str, Any]) -> None:
    """Each Param has a type, a title and a description, and the defaults do not depend on the clock."""
    for dag in dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.description, f"{dag.dag_id}.{name}: describe it"
            assert param.schema.get("type"), f"{dag.dag_id}.{name}: give it a type"
            assert param.schema.get("title"), f"{dag.dag_id}.{name}: give it a title"


@pytest.mark.parametrize("dag_id", ["backfill_catalog", "rollback_catalog", "redrive_dead_letters"])
def test_every_form_field_is_in_the_manual(dags: dict[str, Any], dag_id: str) -> None:
    """The manual's table of a DAG that people start has a line for each field of the form."""
    dag = dags[dag_id]
    for name in dag.params:
        assert dag.params.get_param(name).schema["title"] in dag.doc_md


@pytest.mark.parametrize("dag_id", ["backfill_catalog", "rollback_catalog", "redrive_dead_letters"])
def test_what_people_start_is_a_dry_run_unless_somebody_says_otherwise(dags: dict[str, Any], dag_id: str) -> None:
    """The form has the dry run ticked."""
    assert dags[dag_id].params["dry_run"] is True


def test_a_backfill_wants_a_reason(dags: dict[str, Any]) -> None:
    """The form of ``backfill_catalog`` cannot be sent without one."""
    assert not dags["backfill_catalog"].params.get_param("reason").has_value


@pytest.mark.parametrize(
    ("form", "fits"),
    [
        ({}, True),
        ({"why": "MALFORMED", "limit": 10_000, "dry_run": False}, True),
        ({"why": "malformed"}, False),
        ({"why": ""}, False),
        ({"limit": 0}, False),
        ({"limit": 10_001}, False),
        ({"limit": "all"}, False),
        ({"dry_run": "no"}, False),
    ],
)
def test_the_form_of_the_redrive_is_typed(dags: dict[str, Any], form: dict[str, Any], fits: bool) -> None:
    """Only known reasons, a bounded number, and a dry run that is true or false are taken."""
    params = copy.deepcopy(dags["redrive_dead_letters"].params)
    with nullcontext() if fits else pytest.raises(ValueError, match="Invalid"):
        params.update(form)
        params.validate()


def test_the_manual_of_the_nightly_sync_names_every_task(dags: dict[str, Any]) -> None:
    """The operator's manual explains each task of the DAG."""
    dag = dags["nightly_catalog_sync"]
    for task in dag.tasks:
        assert f"`{task.task_id}`" in dag.doc_md
