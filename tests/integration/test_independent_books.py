"""The books that a run writes equal those that a second program computes from the lake and the sandbox's record."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.independent_books import books, differences, main
from tests.e2e.independent_record import Lake, RawSource
from tests.integration.conftest import Deployment, row

from catalog_sandbox.config import DEFAULT_KEY, DEFAULT_SECRET
from catalog_sync.run import Kind, Options

ROWS = [row(n, store) for n in range(6) for store in ("SEA-001", "PDX-001")]
DIRTY = [
    row(20, gtin="012345678901"),
    row(21, gtin="", descr=""),
    row(22, "XXX-999"),
    row(23, ""),
    row(24, item_no=""),
    row(25),
    row(25),
    row(26),
    row(26, descr="Another name"),
    row(27, item_no=" 4711.0 "),
]


def agree(deployment: Deployment, made: dict[str, Any], before: list[dict[str, Any]] | None = None) -> dict[str, int]:
    """Hold the run's books to the second program's, and return the totals that are not zero."""
    sandbox = deployment.sandbox
    lake = Lake(
        deployment.raw["lake"], sandbox.aws_url, aws_access_key_id=DEFAULT_KEY, aws_secret_access_key=DEFAULT_SECRET
    )
    source = RawSource("erp", deployment.source, "store_no", "item_no")
    mine, problems = books(lake, f"runs/{made['run_id']}", sandbox.control_url, [source], before)
    assert problems + differences(mine, made["stores"]) == []
    # Without the source the run's own extract is read, and the books are the same.
    again, _ = books(lake, f"runs/{made['run_id']}", sandbox.control_url)
    assert again == mine
    return {column: rows for column, rows in made["total"].items() if rows}


def test_a_dirty_first_load_and_a_change(deployment: Deployment) -> None:
    """Rejected, collapsed and acknowledged rows; then unchanged and changed ones."""
    total = agree(deployment, deployment.sync("n1", ROWS + DIRTY), before=[])
    assert total == {"read": 22, "collapsed": 1, "rejected": 7, "planned": 14, "sent": 14, "acknowledged": 14}
    before = deployment.lines("/sandbox/catalog")
    changed = [{**ROWS[0], "descr": "Changed"}, *ROWS[1:], *DIRTY]
    total = agree(deployment, deployment.sync("n2", changed), before)
    assert (total["unchanged"], total["acknowledged"]) == (13, 1)


def test_unreadable_rows(deployment: Deployment) -> None:
    """Rows with a field too many, a NUL, or bytes in another encoding stand under no store."""
    deployment.write(ROWS)
    with deployment.source.open("ab") as file:
        file.write(b"SKU-8,4011,One, too many,1.00,SEA-001\r\nSKU-9,4011,N\0l,1.00,SEA-001\r\n")
        file.write(b"SKU-9,4011,Caf\xe9,1.00,SEA-001\r\n")
    total = agree(deployment, deployment.sync("n1"))
    assert (total["read"], total["rejected"], total["acknowledged"]) == (15, 3, 12)


def test_refused_and_suspended_rows(deployment: Deployment) -> None:
    """Refused in one run, at rest in the next."""
    deployment.faults(refuse_skus=["SKU-1"])
    assert agree(deployment, deployment.sync("n1", ROWS))["refused"] == 2
    assert agree(deployment, deployment.sync("n2"))["suspended"] == 2


def test_a_held_row(deployment: Deployment) -> None:
    """A barcode that its holder gives up only today."""
    deployment.sync("n1", [row(1, gtin="4011"), row(2, gtin="4012")])
    assert agree(deployment, deployment.sync("n2", [row(1, gtin="4999"), row(2, gtin="4011")]))["held"] == 1


def test_a_run_for_some_stores_and_skus(deployment: Deployment) -> None:
    """Everything else is out of scope."""
    made = deployment.sync("n1", ROWS, options=Options(stores=("PDX-001",), skus=("SKU-1",)))
    assert agree(deployment, made) == {
        "read": 12, "out_of_scope": 11, "planned": 1, "sent": 1, "acknowledged": 1,
    }  # fmt: skip


def test_a_dry_run(deployment: Deployment) -> None:
    """Planned and unsent."""
    made = deployment.sync("d1", ROWS, options=Options(kind=Kind.COMMAND, dry_run=True))
    assert agree(deployment, made)["unsent"] == 12


@pytest.mark.parametrize(
    ("fault", "column"),
    [
        ("fatal", "failed"),
        ("cancelled", "failed"),
        ("server_error_final", "failed"),
        ("report_truncated", "unknown"),
        ("server_error_retry", "acknowledged"),
        ("unavailable", "acknowledged"),
        ("reset_after", "acknowledged"),
        ("report_failures_only", "acknowledged"),
        ("link_expired", "acknowledged"),
        ("report_unlisted", "unknown"),
    ],
)
def test_one_fault_in_one_of_three_batches(deployment: Deployment, fault: str, column: str) -> None:
    """Whatever happens to one batch, both books say the same of its rows."""
    deployment.faults(script=[{"fault": fault}])
    # Only where no result comes is it given up.
    soon = {"poll_after": "1s", "give_up_after": "4s"} if column == "unknown" else {}
    made = deployment.sync("n1", ROWS, api={"max_items": 4}, results=deployment.results(**soon))
    assert agree(deployment, made)[column] >= 2


def test_rows_of_which_nothing_was_sent(deployment: Deployment) -> None:
    """After a 403 the rest of the plan is unsent."""
    deployment.faults(rates={"forbidden": 1.0})
    made = deployment.sync("n1", ROWS, api={"max_items": 4})
    assert agree(deployment, made)["unsent"] == 12


def test_a_batch_that_amazon_rejects_for_a_store(deployment: Deployment) -> None:
    """A configured store that Amazon does not know: its rows are refused, the others' sent."""
    stores = {"ids": ["SEA-001", "PDX-001", "XXX-999"]}
    made = deployment.sync("n1", [*ROWS, row(1, "XXX-999"), row(2, "XXX-999")], stores=stores)
    total = agree(deployment, made)
    assert (total["acknowledged"], total["refused"]) == (12, 2)


def test_a_wrong_number_is_found(
    deployment: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Books that call a refused row acknowledged do not agree; the program says so and fails."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DEFAULT_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", DEFAULT_SECRET)
    deployment.faults(refuse_skus=["SKU-1"])
    made = deployment.sync("n1", ROWS)
    run = deployment.open("n1")
    arguments = ["--lake", deployment.raw["lake"], "--endpoint", deployment.sandbox.aws_url, "--run", run.run_id]
    arguments += ["--sandbox", deployment.sandbox.control_url, "--source", f"erp={deployment.source},store_no,item_no"]
    assert main(arguments) == 0
    made["stores"]["PDX-001"] |= {"acknowledged": 6, "refused": 0}
    run.lake.put_json(run.key("books.json"), made)
    assert main(arguments) == 1
    assert "PDX-001: acknowledged is 5 here, 6 there" in capsys.readouterr().out
