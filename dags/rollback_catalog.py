"""# Make Amazon's catalog what it was

Takes what Amazon had acknowledged after a run, or at a time, and makes its catalog equal to that again: for chosen
stores, or for all. The sources are not read. Use it after a night sent what it should not have sent.

**A dry run unless you untick it.** The log of `plan` then shows what would change, and what cannot be rolled back.

**The next night goes forward again** to what the sources say. Mend the source first, or pause `nightly_catalog_sync`.

| field | meaning |
|---|---|
| To | a run, as its note names it (what Amazon had when its books were made), or a time such as `2026-11-27T18:00` |
| Stores | only these, one per line; empty: all |
| Dry run | ticked: only show what would change |
| Reason | why; kept with the run and in the audit trail |

**SKUs that were in no store then** would have to be archived. They are always held: `release_held_changes` asks a
person, and an approval starts a second run of this DAG, to the same target, that archives them. Other changes are
held when they are over the limits of the guards, and released in the same way (`docs/runbooks/rows-held.md`).

**What cannot be rolled back** stands in the plan: a SKU that is new in one store and was in others then (Amazon
archives in every store or none), rows that break the rules of today, stores that are not configured any more. A row
whose barcode another SKU has to give up first is held; start the same rollback once more.

How far back it goes: `rollback.within` (90 days). **When it is red**, the same advice holds as for
`nightly_catalog_sync`; its page has the list.
"""

from airflow.sdk import Param, dag

from catalog_airflow.defaults import BY_HAND
from catalog_airflow.pipeline import sync_pipeline
from catalog_sync.run import Kind
from catalog_sync.settings import load

SETTINGS = load()


@dag(
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    **BY_HAND,
    params={
        "to": Param(
            type="string", minLength=1, maxLength=250, title="To", description="A run, as its note names it, or a time."
        ),
        "stores": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Stores",
            description="Only these store ids, one per line. Empty: all stores.",
        ),
        "dry_run": Param(True, type="boolean", title="Dry run", description="Stop after the plan and show it."),
        "reason": Param(
            type="string",
            minLength=3,
            maxLength=500,
            title="Reason",
            description="Why you start it; kept with the run and in the audit trail.",
        ),
    },
)
def rollback_catalog() -> None:
    """Wire the DAG."""
    sync_pipeline(Kind.ROLLBACK, SETTINGS)


rollback_catalog()
