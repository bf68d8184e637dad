"""Releasing held rows: a person sees the held set, answers, and the rows that are still the same are sent.

    show_held → approve → start_release → record_answer

``approve`` is Airflow's human-in-the-loop operator. What it collects is only checked here, and the domain sends held
rows only when the audit trail has the approval (``catalog_sync.release``).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from catalog_airflow.context import conf_of, open_named
from catalog_airflow.listeners import SUMMARY
from catalog_airflow.operators import STARTED, StartRun
from catalog_sync.errors import CatalogSyncError
from catalog_sync.run import Kind, Options

log = logging.getLogger(__name__)

RUNS_IN, ROLLED_BACK_IN = "backfill_catalog", "rollback_catalog"
#: A question is open until the next night is near, which asks anew; less than ``DAGRUN_TIMEOUT``.
RESPONSE_TIMEOUT = timedelta(hours=18)
SHOWN = "show_held"
ANSWERED = "approve"
#: The XCom of the question that holds the answer.
ANSWER = "answer"
#: The XCom of ``show_held`` that says that the plan holds nothing.
NOTHING = "nothing"


def release_pipeline() -> None:
    """Put the whole question into the DAG that is being defined."""
    shown = show_held()
    answered = AskPerson(
        task_id=ANSWERED,
        subject="{{ ti.xcom_pull('show_held')['subject'] }}",
        body="{{ ti.xcom_pull('show_held')['body'] }}",
        # No answer is no: what is held stays held, and the next night asks again.
        defaults=ApprovalOperator.REJECT,
        response_timeout=RESPONSE_TIMEOUT,
        params={
            # May stay empty: without that the UI asks for it also from a person who says no.
            "hash": Param(
                "", type=["string", "null"], title="Hash", description="To approve: the hash that is shown above."
            ),
            "reason": Param("", type="string", title="Reason", description="Why; it goes into the audit trail."),
        },
    )
    shown >> answered >> StartRelease(task_id="start_release") >> record_answer()


class AskPerson(ApprovalOperator):
    """Airflow's question, which also tells later tasks a *no*: what a rejected question returns is nowhere."""

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Keep the answer, and go on as Airflow does."""
        if "error" not in event:
            kept = {key: event.get(key) for key in ("chosen_options", "params_input", "responded_by_user")}
            context["ti"].xcom_push(ANSWER, kept)
        return super().execute_complete(context, event)


class StartRelease(StartRun):
    """Starts the run that sends the approved rows, after checking that the approval is for exactly this held set."""

    def execute(self, context: Any) -> None:
        """Check, record the approval, and start the run."""
        from catalog_sync.release import approve

        shown, answer = _shown(context), _answer(context)
        given = answer.get("params_input") or {}
        reason = str(given.get("reason") or "")
        try:
            approve(_run(context), str(given.get("hash") or ""), _who(answer), reason)
        except CatalogSyncError as error:
            raise AirflowFailException(str(error)) from None
        why = f"release of {shown['rows']:,} held rows, approved by {_who(answer)}"
        held = _run(context)
        conf = {"release": held.run_id, "dry_run": False, "reason": f"{why}: {reason}"[:500]}
        if held.options.kind is not Kind.ROLLBACK:
            self.start(context, RUNS_IN, "release", conf)
        # Released by a run to the same target.
        target = {"to": held.options.to, "stores": list(held.options.stores)}
        self.start(context, ROLLED_BACK_IN, "release", {**conf, **target})


@task(task_id=SHOWN)
def show_held() -> dict[str, Any]:
    """Show the held set: why, since when, what it would do, and the hash that an approval names."""
    from catalog_sync.release import question

    context: Any = get_current_context()
    conf_of(context)
    made = question(_run(context))
    if not made["rows"]:
        context["ti"].xcom_push(NOTHING, True)
        raise AirflowSkipException(f"the plan of run {_run(context).run_id} holds nothing")
    log.info("%s", made["body"])
    return made


@task(trigger_rule=TriggerRule.ALL_DONE)
def record_answer() -> str:
    """Record what came of the question; fails when it could not be asked, or an approved release was not started."""
    from catalog_sync.release import reject

    context: Any = get_current_context()
    answer = _answer(context)
    if not answer:
        if context["ti"].xcom_pull(task_ids=SHOWN, key=NOTHING):
            raise AirflowSkipException("nothing is held, so nothing was asked")
        raise AirflowFailException("nobody could be asked: see the log of show_held, then that of approve")
    if answer["chosen_options"] == [ApprovalOperator.APPROVE]:
        if not context["ti"].xcom_pull(task_ids="start_release", key=STARTED):
            raise AirflowFailException("approved, but not released: see the log of start_release; nothing was sent")
        told = f"approved by {_who(answer)}"
    else:
        told = reject(_run(context), _who(answer), str((answer.get("params_input") or {}).get("reason") or ""))
    context["ti"].xcom_push(
        SUMMARY, f"**{told}**: {_shown(context)['rows']:,} held rows of run `{_run(context).run_id}`"
    )
    return told


def _run(context: Any) -> Any:
    return open_named(str(context["params"]["run"]), Options())


def _shown(context: Any) -> dict[str, Any]:
    return dict(context["ti"].xcom_pull(task_ids=SHOWN) or {})


def _answer(context: Any) -> dict[str, Any]:
    return dict(context["ti"].xcom_pull(task_ids=ANSWERED, key=ANSWER) or {})


def _who(answer: dict[str, Any]) -> str:
    """Return the name of whoever answered; empty when nobody did."""
    user = answer.get("responded_by_user") or {}
    return str(user.get("name") or user.get("id") or "")
