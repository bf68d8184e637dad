"""Imports go one way: dags → catalog_airflow → catalog_sync; sandbox and sync never meet."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_FILES = {path.stem for path in (ROOT / "dags").glob("*.py")}

#: Folder → what its modules may not import, at the top or inside a function.
FORBIDDEN = {
    "include/catalog_sync": {"airflow", "catalog_airflow", "catalog_sandbox", "catalog_local", *DAG_FILES},
    "include/catalog_sandbox": {"airflow", "catalog_airflow", "catalog_sync", "catalog_local", *DAG_FILES},
    "include/catalog_local": {"airflow", "catalog_airflow", "catalog_sandbox", *DAG_FILES},
    "plugins": {"catalog_sandbox", "catalog_local", *DAG_FILES},
    "dags": {"catalog_sandbox", "catalog_local", *DAG_FILES},
}


def imported(source: str) -> set[str]:
    """Return the top-level packages that a module imports anywhere."""
    return {name.partition(".")[0] for node in ast.walk(ast.parse(source)) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_nothing_is_imported_against_the_grain(folder: str) -> None:
    """No module of the folder imports what lies above it or beside it."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): imported(path.read_text()) & FORBIDDEN[folder] for path in files}
    assert {path: names for path, names in found.items() if names} == {}


def test_imports_are_found_wherever_they_hide() -> None:
    """The check sees plain imports, imports from, and imports inside functions."""
    source = (
        "import airflow.sdk\ndef f():\n    from catalog_sandbox.app import build\n    import a, nightly_catalog_sync\n"
    )
    assert imported(source) == {"airflow", "catalog_sandbox", "a", "nightly_catalog_sync"}


def test_the_plugin_loader_executes_one_file_only() -> None:
    """Airflow runs every file below ``plugins/`` under its bare name, unless ``.airflowignore`` names it."""
    ignored = (ROOT / "plugins" / ".airflowignore").read_text().split()
    executed = [
        path.name
        for path in (ROOT / "plugins").rglob("*.py")
        if f"{path.relative_to(ROOT / 'plugins').parts[0]}/" not in ignored
    ]
    assert executed == ["catalog_airflow_plugin.py"]
