"""From Airflow's context to the domain's ``Run``: who asked for what, and under which name it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import get_current_context

from catalog_airflow import channels, metrics
from catalog_airflow.connections import AirflowConnections
from catalog_sync import settings
from catalog_sync.errors import BadInput
from catalog_sync.run import Kind, Options, Run, run_name

#: The name of a run in the lake begins with this. Two DAGs may start at the same instant, and then Airflow gives their
#: runs the same id; nightly runs keep Airflow's own, so that what the UI shows is what ``books`` takes.
_PREFIX = {Kind.NIGHT: "", Kind.BACKFILL: "backfill__", Kind.ROLLBACK: "rollback__", Kind.COLLECT: "collect__"}


def name_of(kind: Kind, dag_run_id: str) -> str:
    """Return the name in lake and ledger of an Airflow run."""
    return run_name(f"{_PREFIX[kind]}{dag_run_id}")


def names_of(dag_run_id: str) -> list[str]:
    """Return every name that a run with this id may have in lake and ledger, whichever of our DAGs it is of."""
    return [name_of(kind, dag_run_id) for kind in _PREFIX]


def options_of(
    kind: Kind, params: Mapping[str, Any], conf: Mapping[str, Any] | None, by: str = "", origin: str = ""
) -> Options:
    """Return what the run was asked to do.

    :param params: the form's values.
    :param conf: what the run was started with; ``follow_up`` and ``release`` in it are not on any form.
    :param by: the user who started the run.
    :param origin: the DAG and the run's id in Airflow.
    :raises BadInput: a backfill that names nothing and does not say that it means everything.
    """
    options = Options(
        kind=kind,
        stores=_names(params.get("stores")),
        skus=_names(params.get("skus")),
        skus_file=str(params.get("skus_file") or "").strip(),
        departments=_names(params.get("departments")),
        changed_since=str(params.get("changed_since") or "").strip(),
        resend=bool(params.get("resend", False)),
        accept_sources=bool(params.get("accept_sources", False)),
        dry_run=bool(params.get("dry_run", False)),
        reason=str(params.get("reason") or ""),
        follow_up=int((conf or {}).get("follow_up", 0)),
        release=str((conf or {}).get("release", "")),
        to=str(params.get("to") or ""),
        by=by,
        origin=origin,
    )
    named = options.stores or options.narrowed or options.release
    if kind is Kind.BACKFILL and not (named or params.get("everything")):
        raise BadInput(
            "stores, skus, skus_file, departments and changed_since are all empty: name something, or tick "
            "'everything' if all of it is meant"
        )
    return options


def open_run(kind: Kind) -> Run:
    """Open the run that the current task belongs to."""
    context = get_current_context()
    dag_run = context["dag_run"]
    by = str(getattr(dag_run, "triggering_user_name", "") or "")
    options = options_of(kind, context["params"], dag_run.conf, by, f"{dag_run.dag_id}/{dag_run.run_id}")
    return open_named(name_of(kind, dag_run.run_id), options)


def open_named(name: str, options: Options) -> Run:
    """Open the run of that name; the deployment is what ``CATALOG_CONFIG`` says on this machine."""
    metrics.install()
    channels.install()
    return Run.open(settings.load(), AirflowConnections(), name, options)


def label(text: str) -> None:
    """Name the current mapped task in the UI (``map_index_template="{{ label }}"``)."""
    context: Any = get_current_context()
    context["label"] = text


def _names(values: Any) -> tuple[str, ...]:
    return tuple(text for value in values or () if (text := str(value).strip()))
