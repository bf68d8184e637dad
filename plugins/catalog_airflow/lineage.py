"""OpenLineage: what a plan and a run's books say of datasets. Imported only where OpenLineage is switched on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from attrs import define
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import RunFacet, input_statistics_input_dataset, output_statistics_output_dataset

#: The namespace and name of Amazon's catalog of the retailer, as the asset ``jwo_catalog`` has them.
CATALOG = ("x-jwo", "catalog")
#: The namespace of the sources of the configuration.
SOURCES = "catalog-source"


@define
class CatalogRunFacet(RunFacet):
    """What a run planned, and what came of it: ``rows`` by column of the books, once they are made."""

    runId: str
    planNumber: int | None = None
    planHash: str | None = None
    state: str | None = None
    rows: dict[str, int] | None = None

    @staticmethod
    def _get_schema() -> str:
        return "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"


def lineage_of(told: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """Return lineage from what a task told; empty when it told nothing.

    :param told: ``run_id``; ``plan_number`` and ``plan_hash``; ``state`` and ``rows`` (by column of the books);
        ``sources`` (name → rows read); ``lake`` (its URI); ``inputs`` (names in the lake); ``outputs`` (name in the
        lake → rows); ``catalog`` (rows that Amazon acknowledged, absent in a dry run). Names of datasets do not change
        from run to run, so that a lineage graph is of datasets and not of runs.
    """
    if not told:
        return OperatorLineage()
    outputs = [_output(str(told["lake"]), key, rows) for key, rows in told.get("outputs", {}).items()]
    if told.get("catalog") is not None:
        outputs.append(_output(*CATALOG, told["catalog"]))
    facet = CatalogRunFacet(
        runId=str(told["run_id"]),
        planNumber=told.get("plan_number"),
        planHash=told.get("plan_hash"),
        state=told.get("state"),
        rows=told.get("rows"),
    )
    inputs = [_source(name, rows) for name, rows in told.get("sources", {}).items()]
    inputs += [InputDataset(namespace=str(told["lake"]), name=name) for name in told.get("inputs", ())]
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={"catalog": facet})


def _source(name: str, rows: int) -> InputDataset:
    counted = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=rows)
    return InputDataset(namespace=SOURCES, name=name, inputFacets={"inputStatistics": counted})


def _output(namespace: str, name: str, rows: int) -> OutputDataset:
    counted = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=rows)
    return OutputDataset(namespace=namespace, name=name, outputFacets={"outputStatistics": counted})
