"""From Airflow's context to the domain's ``Run``: who asked for what, and under which name it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from airflow.sdk import get_current_context

from catalog_airflow import channels, metrics
from catalog_airflow.connections import AirflowConnections
from catalog_sync import settings
from catalog_sync.errors import BadInput, shorten
from catalog_sync.run import Kind, Options, Run, run_name

#: The name of a run in the lake begins with this. Two DAGs may start at the same instant, and then Airflow gives their
#: runs the same id; nightly runs keep Airflow's own, so that what the UI shows is what ``books`` takes.
_PREFIX = {Kind.NIGHT: "", Kind.BACKFILL: "backfill__", Kind.ROLLBACK: "rollback__", Kind.COLLECT: "collect__"}

#: What our own code starts runs with, beside what is on their form.
_BESIDE_THE_FORM = {
    "nightly_catalog_sync": ("follow_up",),
    "backfill_catalog": ("follow_up", "release"),
    "rollback_catalog": ("follow_up", "release"),
}
#: Airflow's limit on the name of a mapped task, in characters.
LABEL_LIMIT = 250
#: What others put in unasked: the ``TriggerDagRunOperator`` of a DAG that is not ours.
_FROM_OTHERS = ("openlineage",)


def name_of(kind: Kind, dag_run_id: str) -> str:
    """Return the name in lake and ledger of an Airflow run."""
    return run_name(f"{_PREFIX[kind]}{dag_run_id}")


def names_of(dag_run_id: str) -> list[str]:
    """Return every name that a run with this id may have in lake and ledger, whichever of our DAGs it is of."""
    return [name_of(kind, dag_run_id) for kind in _PREFIX]


def conf_of(context: Any) -> dict[str, Any]:
    """Return what the run of the current task was started with.

    :raises BadInput: it holds something that is on no form: were it passed over, a misspelt ``dry_run`` would send.
    """
    dag_run, form = context["dag_run"], list(context["dag"].params)
    conf = dict(dag_run.conf or {})
    if unknown := sorted(set(conf).difference(form, _BESIDE_THE_FORM.get(dag_run.dag_id, ()), _FROM_OTHERS)):
        near = get_close_matches(unknown[0], form, 1)
        raise BadInput(
            f"{', '.join(repr(shorten(key)) for key in unknown)} is no field of {dag_run.dag_id}"
            f"{f' (did you mean {near[0]!r}?)' if near else ''}, whose fields are: {', '.join(form) or 'none'}; start "
            "another run without it"
        )
    return conf


def options_of(
    kind: Kind, params: Mapping[str, Any], conf: Mapping[str, Any] | None, by: str = "", origin: str = ""
) -> Options:
    """Return what the run was asked to do.

    :param params: the form's values.
    :param conf: what the run was started with; ``follow_up`` and ``release`` in it are not on any form.
    :param by: the user who started the run.
    :param origin: the DAG and the run's id in Airflow.
    :raises BadInput: a value is not of its field's type, a list holds nothing but blanks, or a backfill names nothing
        and does not say that it means everything.
    """
    started_with = conf or {}
    options = Options(
        kind=kind,
        stores=_names(params, "stores"),
        skus=_names(params, "skus"),
        skus_file=_text(params, "skus_file").strip(),
        departments=_names(params, "departments"),
        changed_since=_text(params, "changed_since").strip(),
        resend=_ticked(params, "resend"),
        accept_sources=_ticked(params, "accept_sources"),
        dry_run=_ticked(params, "dry_run"),
        reason=_text(params, "reason"),
        follow_up=_count(started_with, "follow_up"),
        release=_text(started_with, "release"),
        to=_text(params, "to"),
        by=by,
        origin=origin,
    )
    everything = _ticked(params, "everything")
    named = options.stores or options.narrowed or options.release
    if kind is Kind.BACKFILL and not (named or everything):
        raise BadInput(
            "stores, skus, skus_file, departments and changed_since are all empty: name something, or tick "
            "'everything' if all of it is meant"
        )
    return options


def open_run(kind: Kind) -> Run:
    """Open the run that the current task belongs to.

    :raises BadInput: what it was started with is wrong, or its id was another run's.
    """
    context = get_current_context()
    dag_run = context["dag_run"]
    by = str(getattr(dag_run, "triggering_user_name", "") or "")
    options = options_of(kind, context["params"], conf_of(context), by, f"{dag_run.dag_id}/{dag_run.run_id}")
    run = open_named(name_of(kind, dag_run.run_id), replace(options, asked_at=dag_run.run_after.isoformat()))
    run.require_own_name()
    return run


def open_named(name: str, options: Options) -> Run:
    """Open the run of that name; the deployment is what ``CATALOG_CONFIG`` says on this machine."""
    metrics.install()
    channels.install()
    return Run.open(settings.load(), AirflowConnections(), name, options)


def label(text: str) -> None:
    """Name the current mapped task in the UI (``map_index_template="{{ label }}"``); a long name is cut."""
    context: Any = get_current_context()
    context["label"] = shorten(text, LABEL_LIMIT)


def _names(values: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Return the texts of a list without blank ones; a list of blanks alone would mean everything."""
    given = values.get(field)
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not all(isinstance(value, str) for value in given):
        raise _wrong(values, field, 'must be a list of texts, such as ["A", "B"]')
    names = tuple(text for value in given if (text := value.strip()))
    if given and not names:
        raise _wrong(values, field, "holds nothing but blanks; name something, or leave it empty")
    return names


def _text(values: Mapping[str, Any], field: str) -> str:
    given = values.get(field)
    if given is not None and not isinstance(given, str):
        raise _wrong(values, field, "must be a text")
    return given or ""


def _ticked(values: Mapping[str, Any], field: str) -> bool:
    given = values.get(field, False)
    if not isinstance(given, bool):
        raise _wrong(values, field, "must be true or false, without quotes")
    return given


def _count(values: Mapping[str, Any], field: str) -> int:
    given = values.get(field, 0)
    if isinstance(given, bool) or not isinstance(given, int):
        raise _wrong(values, field, "must be a whole number")
    return given


def _wrong(values: Mapping[str, Any], field: str, rule: str) -> BadInput:
    return BadInput(f"{field} = {shorten(repr(values[field]))}: {rule}")
