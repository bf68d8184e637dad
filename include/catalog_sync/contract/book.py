"""The account that the rules give: what they rejected, what they repaired, what they only warned of."""

from __future__ import annotations

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import REJECTS, REPAIRS, rejects, repairs
from catalog_sync.contract.policy import Policy


class Book:
    """Gathers what the rules find, row by row (``row_id`` is the row's place in the frame that is judged)."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._rejects: list[pl.DataFrame] = []
        self._warnings: list[pl.DataFrame] = []
        self._repairs: list[pl.DataFrame] = []

    def broken(self, rows: pl.DataFrame, where: pl.Expr, code: Code, field: str, value: str, message: str) -> None:
        """Reject the rows where the rule is broken, or warn of them where the configuration says so."""
        lines = rejects(rows, where, code, field, pl.col(value), message)
        (self._warnings if self.policy.warns(code) else self._rejects).append(lines)

    def repaired(self, rows: pl.DataFrame, code: Code, field: str, before: str, after: str) -> None:
        """Book a repair for each row where the columns differ."""
        self._repairs.append(repairs(rows, code, field, before, after))

    def rejected(self, lines: pl.DataFrame) -> None:
        """Book reject lines."""
        self._rejects.append(lines)

    def warned(self, lines: pl.DataFrame) -> None:
        """Book warnings."""
        self._warnings.append(lines)

    def lost(self) -> pl.DataFrame:
        """Return the ``row_id`` of every row that is rejected so far, each once."""
        return _all(self._rejects, REJECTS).select("row_id").unique()

    def rejects(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the reject lines, one per row and code, by row; ``rows`` holds the final keys."""
        lines = _keyed(_all(self._rejects, REJECTS), rows)
        return lines.unique(["row_id", "code"], keep="first", maintain_order=True).sort("row_id", "code")

    def warnings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the warnings, one per row, code and field, by row; ``rows`` holds the final keys."""
        lines = _keyed(_all(self._warnings, REJECTS), rows)
        return lines.unique(["row_id", "code", "field"], keep="first", maintain_order=True).sort("row_id", "code")

    def repairs(self, rows: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        """Return the repair lines, with ``row_id``, of the rows in ``kept``: a rejected row was not repaired."""
        lines = _all(self._repairs, REPAIRS).join(kept.select("row_id"), on="row_id", how="semi", maintain_order="left")
        return _keyed(lines, rows)


def _all(frames: list[pl.DataFrame], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    columns = [pl.col(name).cast(kind) for name, kind in schema.items()]
    return pl.concat([pl.DataFrame(schema=schema), *(frame.select(columns) for frame in frames if len(frame))])


def _keyed(lines: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Give every line of a row the same key, the one after repairs, however early the rule was that wrote it."""
    keys = rows.select("store_id", "item_sku")[lines["row_id"]]
    return lines.with_columns(keys)
