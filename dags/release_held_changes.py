"""# Release held changes

A plan that would change too much at once has that part *held* (`docs/guards.md`). The run that held it starts this DAG,
which shows a person what is held and why, and waits.

| task | what it does |
|---|---|
| `show_held` | reads the held set of the run: guards, stores, price moves, before and after, and its hash |
| `approve` | waits for a person, in *Required Actions*: **Approve** with the hash, or **Reject** |
| `start_release` | checks the hash, records the approval, and starts `backfill_catalog` for exactly these rows |
| `record_answer` | records in the audit trail who answered, or that nobody did |

**Approve** sends the rows that are still as they were shown: what the sources say otherwise by now stays held.
**Reject** and **no answer** send nothing: the rows stay held, and the next night derives them again and asks anew.
After 18 hours a question counts as not answered. Questions of several runs may be open at once.

Look first: the tables in the question, and the list of every change (`changes/*.csv` in the run's folder of the lake).
All prices times a hundred, or a store's assortment gone, is a source to mend, not a question to approve.

| field | meaning |
|---|---|
| Run | the run whose held rows are meant, as its note names it |

**When it is red**: *approved, but not released* means that the hash in the form was not that of the held set; clear
`approve` to be asked again. *nobody could be asked*: the log of `show_held` says why, most likely that there is no such
run. Who approved what: `python -m catalog_sync audit`.
"""

from airflow.sdk import Param, dag

from catalog_airflow.defaults import ASKING
from catalog_airflow.release import release_pipeline


@dag(
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    **ASKING,
    params={
        "run": Param(
            type="string",
            minLength=1,
            maxLength=250,
            title="Run",
            description="The run whose held rows are meant, as its note names it.",
        ),
    },
)
def release_held_changes() -> None:
    """Wire the DAG."""
    release_pipeline()


release_held_changes()
