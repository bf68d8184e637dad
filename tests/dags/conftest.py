"""The project's DAGs, parsed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _parse(folder: Path) -> Any:
    """Return the DagBag of a folder."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(folder), collect_dags=True)


@pytest.fixture
def parse() -> Callable[[Path], Any]:
    """Parses the DAG files of a folder."""
    return _parse


@pytest.fixture(scope="session")
def bag() -> Any:
    """Every DAG in ``dags/``."""
    return _parse(ROOT / "dags")


@pytest.fixture(scope="session")
def dags(bag: Any) -> dict[str, Any]:
    """The DAGs by id."""
    return dict(bag.dags)
