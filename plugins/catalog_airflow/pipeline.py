"""The job as a graph, shared by every DAG that writes to Amazon's catalog. The work itself is in ``catalog_sync``.

    extract (per source) → shards → prepare (per shard) → plan → upload (per group of batches)
            → collect_results → settle → start_follow_up → account

    plan → ask_for_release → account
    settle → send_notices → account
    upload, collect_results, settle → account

A failed upload stops nothing: from ``collect_results`` on, tasks run whatever happened before (``all_done``).
``account`` is the only leaf, so it decides how the run ends.

Stages are imported inside the tasks: frame libraries take seconds, and the DAG file is parsed again for every task.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from catalog_airflow.assets import CATALOG, CATALOG_SYNCED
from catalog_airflow.connections import AirflowConnections
from catalog_airflow.context import conf_of, label, open_named, open_run
from catalog_airflow.listeners import SUMMARY
from catalog_airflow.operators import AskForRelease, StartFollowUp
from catalog_airflow.sensors import CollectResultsSensor
from catalog_airflow.tasks import catalog_task, plan_task, show_plan, tell
from catalog_sync.errors import Misconfigured
from catalog_sync.run import Kind, Options, Run, sources_of
from catalog_sync.settings import Settings

log = logging.getLogger(__name__)

#: Uploading retries more often than the rest: each try first waits a minute inside the task, then as Amazon asks.
UPLOAD_RETRIES = 6

ALL_DONE = TriggerRule.ALL_DONE


def sync_pipeline(kind: Kind, config: Settings) -> None:
    """Put the whole job into the DAG that is being defined.

    :param kind: who starts the runs.
    :param config: the deployment, for what the graph depends on: sources and the pool.
    """
    sources = list(sources_of(kind, config))
    shards = pack_shards.override(task_id="shards")(kind=kind.value)
    extracted = extract.partial(kind=kind.value).expand(source=sources)
    prepared = prepare.partial(kind=kind.value).expand(shard=shards)
    planned = plan(kind=kind.value)
    # A slice begins when the one before it is sent: what is not a night sends one after the other (see ``slices``).
    at_once = None if kind is Kind.NIGHT else 1
    sending = upload.override(pool=config.api.pool, max_active_tis_per_dagrun=at_once)
    uploaded = sending.partial(kind=kind.value).expand(batches=planned)
    collected = collect_results(kind, trigger_rule=ALL_DONE)
    settled = settle.override(trigger_rule=ALL_DONE)(kind=kind.value)
    followed = StartFollowUp(task_id="start_follow_up", settle_task_id="settle")
    asked = AskForRelease(task_id="ask_for_release", kind=kind.value)
    accounted = account(kind=kind.value)
    (extracted >> shards >> prepared >> planned >> uploaded >> collected >> settled >> followed >> accounted)
    planned >> asked >> accounted
    # Cleared together with one of these, as *Clear only failed tasks* does, it must not run beside it.
    [uploaded, collected, settled] >> accounted
    settled >> send_notices.override(trigger_rule=ALL_DONE)(kind=kind.value) >> accounted


def drain_pipeline() -> None:
    """Put the collecting for runs that have ended into the DAG that is being defined."""
    kind, collected = Kind.COLLECT.value, collect_results(Kind.COLLECT)
    collected >> settle(kind=kind) >> send_notices(kind=kind)
    # A leaf beside another one: looking at alerts makes no failed collecting green.
    collected >> tell_alerts(kind=kind)


def collect_results(kind: Kind, **kwargs: Any) -> CollectResultsSensor:
    """Return the task that waits for Amazon's results and archives the reports."""
    return CollectResultsSensor(task_id="collect_results", kind=kind, **kwargs)


@catalog_task(execution_timeout=timedelta(hours=3), map_index_template="{{ label }}")
def extract(source: str, kind: str) -> Any:
    """Read one source, map and transform its rows, and write them to the lake by store."""
    label(source)
    from catalog_sync.extract import extract as stage

    run = open_run(Kind(kind))
    made = stage(run, source)
    rows = {f"extract/{source}": made["rows"]}
    tell(run_id=run.run_id, lake=run.lake.uri, sources={source: made["read"]}, outputs=rows)
    return made


@task
def pack_shards(kind: str) -> Any:
    """Pack the stores that were read into shards that fit into memory."""
    from catalog_sync.shards import shards as stage

    return stage(open_run(Kind(kind)))


@task(execution_timeout=timedelta(hours=3), map_index_template="{{ label }}")
def prepare(shard: dict[str, Any], kind: str) -> Any:
    """Merge one shard's rows, hold them to the contract, and compare them with what Amazon acknowledged."""
    label(f"{shard['name']}: {' … '.join(dict.fromkeys([*shard['stores'][:1], *shard['stores'][-1:]]))}")
    from catalog_sync.prepare import prepare as stage

    return stage(open_run(Kind(kind)), shard)


@plan_task(retries=UPLOAD_RETRIES, execution_timeout=timedelta(hours=3))
def plan(kind: str) -> Any:
    """Decide what is sent, cut it into batches, and take the lease that lets this run send.

    Returns the batch numbers that each upload task carries; the plan's counts and hash are the XCom ``plan``, and the
    log shows the plan as a person reads it.
    """
    from catalog_sync.plan import plan as stage

    # Airflow refuses a longer list than this, and the run with it.
    run = open_run(Kind(kind))
    made = stage(run, max_groups=conf.getint("core", "max_map_length"))
    shown = run.lake.get(run.key("plan.md")).decode()
    log.info("Plan of run %s\n\n%s\n", run.run_id, shown)
    show_plan(shown)
    context: Any = get_current_context()
    context["ti"].xcom_push("plan", {key: value for key, value in made.items() if key != "groups"})
    numbers = {key: made[key] for key in ("plan_number", "plan_hash")}
    read = [f"extract/{source.name}" for source in run.settings.sources]
    tell(run_id=run.run_id, lake=run.lake.uri, inputs=read, outputs={"plan": made["rows"]}, **numbers)
    return made["groups"]


@catalog_task(retries=UPLOAD_RETRIES, execution_timeout=timedelta(hours=3), map_index_template="{{ label }}")
def upload(batches: list[int], kind: str) -> Any:
    """Send some batches. Each request is recorded before it is made and takes a ticket (10 a second in all)."""
    label(f"batch {batches[0]}" if len(batches) == 1 else f"batches {batches[0]}–{batches[-1]}")
    from catalog_sync.upload import upload as stage

    return stage(open_run(Kind(kind)), batches)


@catalog_task(execution_timeout=timedelta(hours=3))
def settle(kind: str) -> Any:
    """Make what Amazon's reports say the acknowledged catalog, late results of earlier runs included."""
    run = open_run(Kind(kind))
    if run.options.dry_run:
        raise AirflowSkipException("a dry run sends nothing, so there is nothing to settle")
    from catalog_sync.settle import settle as stage

    return stage(run)


@task(execution_timeout=timedelta(hours=3))
def send_notices(kind: str) -> Any:
    """Tell the stores what changed in them, and the owners of sources what is wrong; each once, cleared or not."""
    run = open_run(Kind(kind))
    if run.options.dry_run:
        raise AirflowSkipException("a dry run changes nothing, so there is nothing to tell")
    from catalog_sync.tell import tell as stage

    return stage(run)


@catalog_task(trigger_rule=ALL_DONE, outlets=[CATALOG_SYNCED])
def account(kind: str) -> dict[str, Any]:
    """Print the books and check them. This task is the only leaf: it fails the run when anything is missing."""
    from catalog_sync import books
    from catalog_sync.account import account as stage
    from catalog_sync.account import check
    from catalog_sync.alerts.evaluate import after_run

    context: Any = get_current_context()
    run = open_run(Kind(kind))
    made = stage(run)
    tell_books(run, made)
    log.info("Books of run %s\n\n%s\n", made["run_id"], books.as_markdown(made))
    for remark in books.remarks(made):
        log.info("%s", remark)
    for problem in made["problems"]:
        log.error("%s", problem)
    context["ti"].xcom_push(SUMMARY, summary_of(made))
    after_run(run, made)
    check(made)
    counts = {"run_id": made["run_id"], **made["plan"], **made["total"]}
    if not made["dry_run"]:
        context["outlet_events"][CATALOG_SYNCED].add(CATALOG, extra=counts)
    return {"state": made["state"], **counts}


@task(trigger_rule=ALL_DONE)
def tell_alerts(kind: str) -> dict[str, int]:
    """Look at what may go wrong between runs, and tell people what has begun, still holds, or is over."""
    from catalog_sync.alerts.evaluate import hourly

    return hourly(open_run(Kind(kind)))


@task(execution_timeout=timedelta(hours=2))
def probe() -> dict[str, Any]:
    """Make every check, write what was found into the log and the run's note, and fail when one failed."""
    from catalog_sync.probe import Status, as_dict, as_markdown, summary, worst
    from catalog_sync.probe import probe as stage

    context: Any = get_current_context()
    conf_of(context)
    by = str(getattr(context["dag_run"], "triggering_user_name", "") or "")
    checks = stage(open_named("probe", Options(by=by)), None if context["params"]["canary"] else False)
    log.info("What the probe found\n\n%s\n", as_markdown(checks))
    context["ti"].xcom_push(SUMMARY, summary(checks))
    if worst(checks) is Status.FAIL:
        raise Misconfigured(", ".join(one.name for one in checks if one.status is Status.FAIL))
    return as_dict(checks)


@task
def redrive() -> dict[str, Any]:
    """Look at the dead letters, and unless it is a dry run send them back to the queue."""
    from catalog_sync import settings
    from catalog_sync.clock import SystemClock
    from catalog_sync.dead_letters import redrive as stage

    context: Any = get_current_context()
    conf_of(context)
    form, config, connections = context["params"], settings.load(), AirflowConnections()
    made = stage(
        config,
        connections.aws(config.aws.conn_id, config.aws.region),
        SystemClock(),
        why=str(form["why"] or ""),
        limit=int(form["limit"]),
        dry_run=bool(form["dry_run"]),
    )
    log.info("%s About %s are in the dead-letter queue.", made.summary, made.waiting)
    for letter in made.sample:
        log.info("%s", ", ".join(f"{key}={value}" for key, value in letter.items()))
    context["ti"].xcom_push(SUMMARY, f"{'**dry run** ' if made.dry_run else ''}{made.summary}")
    return {key: value for key, value in made.as_dict().items() if key != "sample"}


def tell_books(run: Run, made: dict[str, Any]) -> None:
    """Tell lineage what the books say; it is told whether or not they are complete."""
    rows = {column: count for column, count in made["total"].items() if count}
    acknowledged = None if made["dry_run"] else made["total"]["acknowledged"]
    facts = {"run_id": run.run_id, "lake": run.lake.uri, "inputs": ["plan"], "state": made["state"], "rows": rows}
    numbers = {key: made["plan"].get(key) for key in ("plan_number", "plan_hash")}
    tell(catalog=acknowledged, **facts, **numbers)


def summary_of(made: dict[str, Any]) -> str:
    """Return the books as one short text, for the run's note."""
    from catalog_sync import books

    whole = made["total"]
    told = ", ".join(f"{whole[column]:,} {column.replace('_', ' ')}" for column in books.COLUMNS if whole.get(column))
    if archived := made.get("archives", {}).get("archived"):  # the UI shows a note's first line
        told = f"{told}, {archived:,} SKUs archived"
    text = f"**{made['state']}**{' (dry run)' if made['dry_run'] else ''}: {told or 'nothing was read'}."
    # Books of an earlier version know no alarms.
    more = [*made["problems"], *made.get("alarms", ()), *books.remarks(made)]
    # The run's name comes early: a long note is cut.
    return "\n\n".join([text, f"Run `{made['run_id']}`", *more])
