"""Tasks that show more of themselves in Airflow's own pages: links, the plan as people read it, and lineage.

They are ``@task`` functions all the same: ``@catalog_task`` and ``@plan_task`` in place of ``@task``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import get_current_context
from airflow.sdk.bases.decorator import TaskDecorator, task_decorator_factory

from catalog_airflow.links import LINKS

#: Airflow cuts a rendered field that is longer than ``[core] max_templated_field_length`` (4096).
SHOWN_LIMIT = 4000


class CatalogTask(_PythonDecoratedOperator):
    """A ``@task`` with links to the Catalog page and the lake, that tells OpenLineage what it was told by ``tell``."""

    operator_extra_links = LINKS

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.told: dict[str, Any] = {}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return datasets with row counts and the plan's hash; called only where OpenLineage is switched on."""
        from catalog_airflow.lineage import lineage_of

        return lineage_of(self.told)


class PlanTask(CatalogTask):
    """The task that plans: its plan, as people read it, stands in *Rendered Templates*."""

    template_fields: Sequence[str] = (*_PythonDecoratedOperator.template_fields, "rendered_plan")
    template_fields_renderers = {  # noqa: RUF012 - Airflow's own declaration
        **_PythonDecoratedOperator.template_fields_renderers,
        "rendered_plan": "md",
    }
    # What is shown is known only once the task has run.
    overwrite_rtif_after_execution = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rendered_plan = ""


def catalog_task(**kwargs: Any) -> TaskDecorator:
    """Return a decorator that makes a task of a function, as ``@task`` does."""
    return task_decorator_factory(decorated_operator_class=CatalogTask, **kwargs)


def plan_task(**kwargs: Any) -> TaskDecorator:
    """Return a decorator that makes the task that plans of a function."""
    return task_decorator_factory(decorated_operator_class=PlanTask, **kwargs)


def tell(**facts: Any) -> None:
    """Say what lineage may tell of the current task (see ``lineage.lineage_of``)."""
    task: Any = get_current_context()["task"]
    task.told = facts


def show_plan(text: str) -> None:
    """Show the plan, Markdown, in the current task's *Rendered Templates*; a long one up to its last whole line."""
    task: Any = get_current_context()["task"]
    if len(text) > SHOWN_LIMIT:
        text = f"{text[:SHOWN_LIMIT].rpartition(chr(10))[0]}\n\n… the rest is in the task's log."
    task.rendered_plan = text
