"""The account that the rules give: what they rejected, what they repaired, what they only warned of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.contract.frames import REJECTS, REPAIRS, breaches, keyed, mends
from catalog_sync.contract.policy import Policy
from catalog_sync.fields import KEY, PROVENANCE
from catalog_sync.keyed import within

Schema = Mapping[str, pl.DataType]


class Book:
    """Gathers what the rules find, row by row (``row_id`` is the row's place in the frame that is judged)."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._rejects: list[pl.DataFrame] = []
        self._warnings: list[pl.DataFrame] = []
        self._repairs: list[pl.DataFrame] = []

    def broken(self, rows: pl.DataFrame, where: pl.Expr, code: Code, field: str, value: str, message: str) -> None:
        """Reject the rows where the rule is broken, or warn of them where the configuration says so."""
        self.add(breaches(rows, where, code, field, pl.col(value), message), code)

    def add(self, lines: pl.DataFrame, code: Code) -> None:
        """Book lines (see ``frames.breaches``) of rows that break the rule."""
        (self._warnings if self.policy.warns(code) else self._rejects).append(lines)

    def repaired(self, rows: pl.DataFrame, code: Code, field: str, before: str, after: str) -> None:
        """Book a repair for each row where the columns differ."""
        self._repairs.append(mends(rows, code, field, before, after))

    def take(self, other: Book, rows: pl.DataFrame) -> None:
        """Book what another book has of trade items for each of their rows.

        :param rows: ``row_id``, and ``trade_item``: its row in the other book.
        """
        places = rows.select("row_id", "trade_item")

        def spread(frames: list[pl.DataFrame]) -> Iterable[pl.DataFrame]:
            for lines in frames:
                if len(lines):
                    named = lines.rename({"row_id": "trade_item"})
                    yield named.join(places, on="trade_item", maintain_order="left_right")

        self._rejects += spread(other._rejects)
        self._warnings += spread(other._warnings)
        self._repairs += spread(other._repairs)

    def lost(self) -> pl.DataFrame:
        """Return the ``row_id`` of every row that is rejected so far, each once."""
        return _all(self._rejects, REJECTS).select("row_id").unique()

    def rejects(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the reject lines, one per row and code, by row; ``rows`` holds the final keys."""
        lines = _all(self._rejects, REJECTS).unique(["row_id", "code"], keep="first", maintain_order=True)
        return _final(lines.sort("row_id", "code"), rows, REJECTS)

    def warnings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the warnings, one per row, code and field, by row; ``rows`` holds the final keys."""
        lines = _all(self._warnings, REJECTS).unique(["row_id", "code", "field"], keep="first", maintain_order=True)
        return _final(lines.sort("row_id", "code", "field"), rows, REJECTS)

    def repairs(self, rows: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
        """Return the repair lines, by row, of the rows in ``kept``: a rejected row was not repaired."""
        lines = within(_all(self._repairs, REPAIRS), kept, ["row_id"])
        return _final(lines.sort("row_id", maintain_order=True), rows, REPAIRS)


def _all(frames: list[pl.DataFrame], schema: Schema) -> pl.DataFrame:
    columns = {name: kind for name, kind in schema.items() if name not in (*KEY, *PROVENANCE)}
    casts = [pl.col(name).cast(kind) for name, kind in columns.items()]
    return pl.concat([pl.DataFrame(schema=columns), *(frame.select(casts) for frame in frames if len(frame))])


def _final(lines: pl.DataFrame, rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Give every line of a row the same key, the one after repairs, however early the rule was that wrote it."""
    return keyed(lines, rows).select(pl.col(name).cast(kind) for name, kind in schema.items())
