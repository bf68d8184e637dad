"""# Nightly catalog sync

Makes Amazon's Just Walk Out catalog equal to the retailer's, and accounts for every row. Runs every night at the time
of `schedule` in the configuration, in the retailer's time zone; by hand for chosen stores, or as a dry run.

| task | what it does |
|---|---|
| `extract` | reads each source and writes its rows to the lake, by store |
| `shards`, `prepare` | merges, holds rows to the contract, compares them with what Amazon acknowledged |
| `plan` | decides what is sent, in batches of at most 10,000; waits while another run is sending |
| `upload` | sends batches; at most 10 requests a second start, over all hosts |
| `collect_results` | waits for Amazon's reports and archives them |
| `settle` | makes the reports the acknowledged catalog, late ones of earlier runs included |
| `send_notices` | tells each store what changed in it, and the owners of sources what is wrong (docs/notices.md) |
| `ask_for_release` | starts `release_held_changes` when guards hold rows (docs/guards.md); skipped otherwise |
| `start_follow_up` | starts a fresh run when Amazon gave an upload up (at most two); skipped otherwise |
| `account` | prints the books; **fails the run** when anything is missing or does not add up |

**Did it work?** The run is green only if every row that was read is accounted for. The run's note and the log of
`account` show the books. A red `upload` alone loses nothing: the other results are still collected, and `account`
says what is missing.

**When it is red**, read the note, then:

- *there is no plan*: a task before `plan` failed. Its log names the source, file or connection. Mend it, clear that
  task.
- *rows were not sent*: look at the red `upload`. A 403 names what to check (role, permission, allowlisting, clock);
  mend it, try access with `probe_catalog_api`, *Canary* unticked, and clear the red `upload` itself with *Downstream*
  (not the run's *Clear only failed tasks*, which collects nothing again). *Superseded*, or *run … has made plan …
  since*: clear nothing. A newer run about the whole catalog carries the rows; one about a part (a backfill, a release,
  a canary, a rollback) carries none of them: start this DAG by hand, or wait for the next night.
- *rows failed at Amazon*: a follow-up run has been started, or the next night derives the same rows again.
- *rows have no result yet*: `collect_upload_results` or the next night settles them; until then they are in doubt.
- *does not balance*: rows are unaccounted for. Keep the run's folder in the lake and call a developer.

**Held rows** in the note of a green run were too many changes at once; the rest was sent. Look at the log of `plan`,
and answer in `release_held_changes`, or mend the source: the next night derives them again.

**`send_notices` alone is red**: the rows are as the books say; stores were not told. Its log says why; clear it.

**A SKU that has left every store** is archived after some complete nights (docs/archive.md). The note tells how many
wait, and where the list of tasks for the stores lies when Amazon refused some that are on a planogram.

**An alarm** in the note of a green run is about the notices, not the rows: none came, the queue was unsubscribed, or
messages became dead letters. It names its runbook (`docs/runbooks/`).

**Alerts** (`docs/alerts.md`) are judged by `account`, by a deadline, and when Airflow says that the run failed; each
names its runbook.

Clearing any task, even days later, is safe: nothing is sent twice knowingly and nothing old replaces something newer.
Deleting a run in Airflow forgets nothing: no other run may have its id, and a night that Airflow starts again goes on
where it stood. For a fresh reading trigger a new run.
Unpausing this DAG starts the last missed run at once. `airflow dags test` and `airflow tasks test` really send. A field
that is misspelt in a run's JSON is refused, and so is a value of another type.
Airflow's *backfill* is refused here, since sources only show today: use `backfill_catalog`.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, Param, dag

from catalog_airflow.alerting import late
from catalog_airflow.defaults import SCHEDULED
from catalog_airflow.pipeline import sync_pipeline
from catalog_sync.run import Kind
from catalog_sync.settings import load

SETTINGS = load()


@dag(
    doc_md=__doc__,
    # No start date: the first run is the next night's, not the last one's. With ``run_immediately=False`` Airflow 3.3
    # would still start the last night's when that began less than a tenth of a day ago.
    schedule=CronTriggerTimetable(
        SETTINGS.schedule.cron, timezone=SETTINGS.schedule.timezone, run_immediately=timedelta(0)
    ),
    deadline=late(SETTINGS),
    catchup=False,
    **SCHEDULED,
    params={
        "stores": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Stores",
            description="Only these store ids, one per line. Empty: all stores.",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Stop after the plan and print what would be sent."
        ),
        "reason": Param(
            "", type="string", maxLength=500, title="Reason", description="Why you start it; kept with the run."
        ),
    },
)
def nightly_catalog_sync() -> None:
    """Wire the DAG."""
    sync_pipeline(Kind.NIGHT, SETTINGS)


nightly_catalog_sync()
