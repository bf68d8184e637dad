"""What the documentation says of the rules, and what importing their codes costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import catalog_sync
from catalog_sync.contract.codes import Code

ROOT = Path(__file__).resolve().parents[3]


def test_every_code_is_documented_in_order() -> None:
    """The table of the contract's page has each code once, in the order in which the codes are declared."""
    lines = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == [code.value for code in Code]


def test_the_codes_cost_nothing_to_import() -> None:
    """Importing the codes imports no Polars; asking the package for its rules does."""
    include = str(Path(catalog_sync.__file__).parents[1])
    program = (
        f"import sys; sys.path.insert(0, {include!r}); import catalog_sync.contract.codes as c; "
        "assert 'polars' not in sys.modules; import catalog_sync.contract as p; p.apply_contract; "
        "assert 'polars' in sys.modules; assert not hasattr(p, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
