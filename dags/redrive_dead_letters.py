"""# Send dead letters back to the queue

A message of Amazon's topic that nobody could act upon is a *dead letter*: after a few tries it was put into the
dead-letter queue, as it came, with the reason. This shows what lies there and, when told so, sends it back to be tried
again. Nothing is lost meanwhile: the status API brings the results of uploads whose notice lies here.

**A dry run unless you untick it.** The dry run prints in the log of `redrive`, and in the run's note, how many there
are, why and how old, and a sample without links or tokens; it changes nothing. A person sends them back **after** the
cause is mended: what is still not understood comes back here after a few tries.

| field | meaning |
|---|---|
| Dry run | ticked: only show |
| Reason | only dead letters with this reason; empty: all |
| Limit | look at so many at most, and so send back so many at most |

Example: a new state of Amazon's was not known (`UNKNOWN_STATE`), and a new version knows it. Reason `UNKNOWN_STATE`,
dry run ticked; look at the sample; then the same with the dry run unticked. The next `collect_upload_results` reads
them.

What each reason means and what to do about it: `docs/runbooks/dead-letters.md`. Dead letters are kept for 14 days.

**When it is red**: the log names the queue or the permission (the role must receive, delete and send there). What was
sent back before stays sent; start it again. A message that is sent twice changes nothing.
"""

from airflow.sdk import Param, dag

from catalog_airflow.defaults import BY_HAND
from catalog_airflow.pipeline import redrive
from catalog_sync.notices import Why


@dag(
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    **BY_HAND,
    params={
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only show what lies there."),
        "why": Param(
            None,
            type=["null", "string"],
            enum=[None, *(why.value for why in Why)],
            title="Reason",
            description="Only dead letters with this reason. Empty: all.",
        ),
        "limit": Param(
            100,
            type="integer",
            minimum=1,
            maximum=10_000,
            title="Limit",
            description="Look at so many at most, and so send back so many at most.",
        ),
    },
)
def redrive_dead_letters() -> None:
    """Wire the DAG."""
    redrive()


redrive_dead_letters()
