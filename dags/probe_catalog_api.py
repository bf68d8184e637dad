"""# Probe the Catalog API and everything around it

Is everything there that a night needs, and may we use it? Twice a day, and by hand **after every deployment**: it is
the smoke test. What was found stands in the log of `probe` as a table, and in short in the run's note.

| check | what is looked at |
|---|---|
| `address` | the API's host answers; its clock and ours agree |
| `credentials` | STS says who we are, with the role assumed |
| `permission` | a signed status call for an upload that never was: 400 when we may call the API, 403 when not |
| `subscription` | Amazon's topic delivers to our queue, as far as the last uploads tell |
| `ledger`, `lake` | written, read, written on a condition |
| `disk` | room where this host writes |
| `queue`, `queue_policy`, `dead_letters` | what waits; that Amazon's topic may send and nobody else; what was in vain |
| `channels` | the channels for messages and alerts, and the heartbeat's address, have their connections |
| `canary` | only with `probe.canary` in the configuration: one item, sent the whole way |

A check ends as **ok**, **warn** (a night does its job, but without its safety net) or **fail** (a night would fail).
**When it is red**, a check failed: its line says what to do. Mend that, the first one first, and clear `probe`.
The pages behind it: `docs/runbooks/forbidden.md`, `docs/runbooks/credentials-expired.md`,
`docs/runbooks/misconfigured.md`, `docs/runbooks/lost-subscription.md`.

The canary is a backfill of one SKU with *resend*: it needs a row in a source, waits for Amazon's report, and stands in
the lake as a run called `canary__…`. It is skipped while another run sends.

| field | meaning |
|---|---|
| Canary | unticked: only look, although a canary is configured |

Requests to Amazon take tickets like all others, so the probe may run beside a night.
"""

from airflow.sdk import CronTriggerTimetable, Param, dag

from catalog_airflow.defaults import SCHEDULED
from catalog_airflow.pipeline import probe


@dag(
    doc_md=__doc__,
    # Off the hour, where nightly jobs tend to begin.
    schedule=CronTriggerTimetable("23 6,18 * * *", timezone="UTC"),
    catchup=False,
    **SCHEDULED,
    params={
        "canary": Param(True, type="boolean", title="Canary", description="Send the canary, if one is configured."),
    },
)
def probe_catalog_api() -> None:
    """Wire the DAG."""
    probe()


probe_catalog_api()
