"""# Send chosen rows again

The nightly job for a part of the catalog, started by hand: after a store's data was mended, when Amazon lost
something, for a new store before its first night, or after an outage. It reads the sources **as they are now**: several
missed nights are one plan with all that differs today, and there is no way to send a past night.

**A dry run unless you untick it.** The log of `plan` then shows what would be sent, and nothing is.

| field | meaning |
|---|---|
| Stores, SKUs, Departments | what is meant, one per line; several fields together narrow each other |
| SKU file | the same as SKUs, from a file: `s3://…`, `lake:…`, or beside the configuration |
| Changed since | what differs, and with Resend what Amazon acknowledged since then |
| Everything | needed when all of these are empty |
| Resend | also send rows that Amazon has acknowledged just as they are (otherwise only differences are sent) |
| Accept sources | a source that has shrunk is right: later runs are measured by it |
| Dry run | ticked: only show what would be sent |
| Reason | why; kept with the run |

Example: a planogram import at Amazon dropped store `SEA-001`. Stores `SEA-001`, Resend ticked, Dry run ticked; look
at the log of `plan`; then the same with Dry run unticked.

Deleting a run in Airflow forgets nothing: no other run may have its id.

One run sends at a time. When the nightly sync is sending, `plan` waits for it. A long backfill gives way after each
slice of 50 batches (one `upload` task): a night that waits goes first, and what it has read later is left to it, *in
doubt* in the books. **When it is red**, the same advice holds as for `nightly_catalog_sync`; its page has the list,
and `docs/backfill.md` has more.
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
        "stores": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Stores",
            description="Only these store ids, one per line. Empty: all stores.",
        ),
        "skus": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="SKUs",
            description="Only these SKUs, one per line. Empty: all SKUs of the stores.",
        ),
        "skus_file": Param(
            None,
            type=["string", "null"],
            maxLength=1000,
            title="SKU file",
            description="Only the SKUs of this file (CSV, TSV, TXT, JSON Lines, Parquet, XLSX): s3://…, lake:… (a path "
            "in the lake), or a path beside the configuration.",
        ),
        "departments": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "minLength": 1},
            title="Departments",
            description="Only rows of these departments (product_category), one per line. Empty: all.",
        ),
        "changed_since": Param(
            None,
            type=["string", "null"],
            format="date-time",
            title="Changed since",
            description="With Resend: only what differs now, and what Amazon acknowledged at this time or later.",
        ),
        "everything": Param(
            False,
            type="boolean",
            title="Everything",
            description="Needed when all of the above is empty: the whole catalog is meant.",
        ),
        "resend": Param(
            False, type="boolean", title="Resend", description="Also send rows that Amazon has just as they are."
        ),
        "accept_sources": Param(
            False, type="boolean", title="Accept sources", description="Sources that have shrunk are right as they are."
        ),
        "dry_run": Param(
            True, type="boolean", title="Dry run", description="Stop after the plan and print what would be sent."
        ),
        "reason": Param(
            type="string",
            minLength=3,
            maxLength=500,
            title="Reason",
            description="Why you start it; kept with the run.",
        ),
    },
)
def backfill_catalog() -> None:
    """Wire the DAG."""
    sync_pipeline(Kind.BACKFILL, SETTINGS)


backfill_catalog()
