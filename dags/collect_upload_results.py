"""# Collect late results

Every hour: drains the queue of notices, archives the reports that wait, and settles what no run waits for any more:
results that came after a run had given up, or whose run was killed. It sends nothing and takes no lease.

It is safe beside a running sync: both record what they receive in the same ledger, and a run's end is judged by the
ledger.

Stores are told of what it settles, as they are by a night (docs/notices.md). It also looks at what may go wrong between
runs, and tells people what has begun and what is over (`docs/alerts.md`).

What it settles is booked as *late* under its own name and marked as belonging to the run that sent it; the books of
that run are not rewritten.

**When it is red**: the log of `collect_results` names the queue, permission or connection. Notices stay in the queue
(SQS keeps them for 4 days by default), and report links can be asked for anew, so a red night here loses nothing by
itself. Alarms about notices are in `docs/runbooks/lost-subscription.md` and `docs/runbooks/unsubscribed.md`.
"""

from airflow.sdk import CronTriggerTimetable, dag

from catalog_airflow.defaults import SCHEDULED
from catalog_airflow.pipeline import drain_pipeline


@dag(
    doc_md=__doc__,
    # Off the hour, where nightly jobs tend to begin.
    schedule=CronTriggerTimetable("40 * * * *", timezone="UTC"),
    catchup=False,
    **SCHEDULED,
)
def collect_upload_results() -> None:
    """Wire the DAG."""
    drain_pipeline()


collect_upload_results()
