"""DAG files load, serialise, and cost little to parse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_every_file_gives_the_dag_of_its_name(bag: Any) -> None:
    """Each file in ``dags/`` imports without an error and holds one DAG, called like the file."""
    assert bag.import_errors == {}
    assert set(bag.dags) == {path.stem for path in (ROOT / "dags").glob("*.py")}
    assert {Path(dag.fileloc).stem: dag.dag_id for dag in bag.dags.values()} == {name: name for name in bag.dags}


def test_every_dag_survives_serialisation(dags: dict[str, Any]) -> None:
    """The scheduler sees the serialised DAG; it has the same tasks and edges."""
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags.values():
        copy = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert {task.task_id: task.downstream_task_ids for task in copy.tasks} == {
            task.task_id: task.downstream_task_ids for task in dag.tasks
        }


def test_a_broken_dag_file_is_caught(parse: Callable[[Path], Any], tmp_path: Path) -> None:
    """A DAG whose file cannot be imported, and one with a cycle, are import errors: the checks above can fail."""
    (tmp_path / "cannot_import.py").write_text("from airflow.sdk import dag\nimport no_such_module\n")
    (tmp_path / "cycle.py").write_text(
        "from airflow.sdk import dag, task\n"
        "@task\ndef one(): ...\n@task\ndef two(): ...\n"
        "@dag\ndef cycle():\n    a, b = one(), two()\n    a >> b >> a\n"
        "cycle()\n"
    )
    assert {Path(name).stem for name in parse(tmp_path).import_errors} == {"cannot_import", "cycle"}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "dags").glob("*.py")))
def test_parsing_imports_no_heavy_library(name: str) -> None:
    """Every task parses its DAG file again, so it imports nothing that takes long, nor the scheduler's models."""
    heavy = ("pandas", "polars", "pyarrow", "deltalake", "boto3", "numpy", "airflow.models.dagrun")
    code = (
        f"import sys; sys.path.append('plugins'); sys.path.append('dags'); import {name};"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
