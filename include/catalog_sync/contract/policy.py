"""Which rule does what to a row: the defaults, overridden by the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

from catalog_sync.contract.codes import Code
from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.settings import OnViolation, Rule

#: Rules that repair what they can unless told otherwise; all others reject.
REPAIRING = frozenset(
    {
        Code.NAME_TRIM,
        Code.NAME_ASCII,
        Code.NAME_LENGTH,
        Code.NUMERIC_CELL,
        Code.BARCODE_PADDED,
        Code.PRICE_FORMAT,
    }
)
WARNING = frozenset({Code.BARCODE_INTERNAL})
#: What these rules find cannot be sent, so a warning is not enough.
NEVER_WARN = frozenset({Code.REQUIRED, Code.ROW_UNREADABLE, Code.STORE_UNKNOWN, Code.DUPLICATE_KEY})


class Policy:
    """The configured rules.

    :raises Misconfigured: a pattern is no regular expression.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        for code, rule in rules.items():
            _usable(code, rule.pattern)

    def action(self, code: Code) -> OnViolation:
        """Return what happens to a row that breaks the rule."""
        chosen = self._rules.get(code, Rule()).on_violation
        if chosen is not None and not (chosen is OnViolation.WARN and code in NEVER_WARN):
            return chosen
        if code in WARNING:
            return OnViolation.WARN
        return OnViolation.REPAIR if code in REPAIRING else OnViolation.REJECT

    def repairs(self, code: Code) -> bool:
        """Tell whether the rule repairs."""
        return self.action(code) is OnViolation.REPAIR

    def warns(self, code: Code) -> bool:
        """Tell whether a row that breaks the rule goes on all the same."""
        return self.action(code) is OnViolation.WARN

    @property
    def warned(self) -> frozenset[Code]:
        """The rules that only warn."""
        return frozenset(code for code in Code if self.warns(code))

    def limit(self, code: Code, default: int) -> int:
        """Return the rule's ``max``; ``default`` where none is set."""
        return self._rules.get(code, Rule()).max or default

    def pattern(self, code: Code, default: str) -> str:
        """Return the rule's ``pattern``; ``default`` where none is set."""
        return self._rules.get(code, Rule()).pattern or default

    @property
    def ambiguous(self) -> Literal["EAN8", "UPC"]:
        """What eight digits are that pass both as EAN-8 and as UPC-E."""
        return self._rules.get(Code.BARCODE_TYPE, Rule()).ambiguous or "EAN8"


def _usable(code: str, pattern: str | None) -> None:
    try:
        pl.Series([""]).str.contains(f"^(?:{pattern or ''})$")
    except pl.exceptions.ComputeError:
        raise Misconfigured(
            f"rules.{code}.pattern = {shorten(pattern)!r}: must be a regular expression without look-around"
        ) from None
