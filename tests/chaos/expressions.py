"""The part of DynamoDB's expressions that the ledger uses, evaluated over items in DynamoDB's typed form.

Source: AWS, "Condition and filter expressions, operators, and functions" and "Update expressions in DynamoDB".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

Item = dict[str, Any]
_TOKEN = re.compile(r"\s*(<=|>=|<>|[=<>(),]|[#:]?[A-Za-z_]\w*)")


class NotSupported(AssertionError):
    """The ledger uses an expression that this double does not know: teach it, do not guess."""


def plain(value: Mapping[str, Any] | None) -> Any:
    """Return a typed value as something that compares as DynamoDB compares it; ``None`` for an absent one."""
    if value is None:
        return None
    ((kind, held),) = value.items()
    return (kind, Decimal(held) if kind == "N" else str(held))


class Condition:
    """A condition: comparisons, ``IN``, ``AND``, ``OR``, parentheses, ``attribute_exists`` and its opposite."""

    def __init__(self, text: str, names: Mapping[str, str], values: Mapping[str, Any], item: Item | None) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s+", "", text):
            raise NotSupported(text)
        self._names, self._values, self._item = names, values, item or {}
        self._at = 0

    def holds(self) -> bool:
        """Tell whether the item meets it."""
        result = self._either()
        if self._at != len(self._tokens):
            raise NotSupported(" ".join(self._tokens))
        return result

    def _next(self, expected: str | None = None) -> str:
        token = self._tokens[self._at]
        if expected is not None and token != expected:
            raise NotSupported(f"{token} where {expected} is due: {' '.join(self._tokens)}")
        self._at += 1
        return str(token)

    def _peek(self) -> str:
        return str(self._tokens[self._at]) if self._at < len(self._tokens) else ""

    def _either(self) -> bool:
        result = self._both()
        while self._peek() == "OR":
            self._next()
            result = self._both() or result
        return result

    def _both(self) -> bool:
        result = self._one()
        while self._peek() == "AND":
            self._next()
            result = self._one() and result
        return result

    def _one(self) -> bool:
        token = self._next()
        if token == "(":
            result = self._either()
            self._next(")")
            return result
        if token in ("attribute_exists", "attribute_not_exists"):
            self._next("(")
            found = self._names.get(name := self._next(), name) in self._item
            self._next(")")
            return found is (token == "attribute_exists")
        left = self._operand(token)
        operator = self._next()
        if operator == "IN":
            return self._among(left)
        return _COMPARE[operator](left, self._operand(self._next()))

    def _among(self, left: Any) -> bool:
        self._next("(")
        found = False
        while True:
            found = self._operand(self._next()) == left is not None or found
            if self._next() == ")":
                return found

    def _operand(self, token: str) -> Any:
        if token.startswith(":"):
            return plain(self._values[token])
        return plain(self._item.get(self._names.get(token, token)))


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Compare values of one type; what is absent or of another type is never before or after anything."""
    return lambda a, b: a is not None and b is not None and a[0] == b[0] and test(a[1], b[1])


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a is not None and a == b,
    "<>": lambda a, b: (a is not None and a != b) or a is None,
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
}


def updated(item: Item, text: str, names: Mapping[str, str], values: Mapping[str, Any]) -> Item:
    """Return the item after an update expression of ``SET``, ``REMOVE`` and ``ADD`` clauses."""
    made = dict(item)
    for clause, body in re.findall(r"(SET|REMOVE|ADD)\s+(.*?)(?=\s+(?:SET|REMOVE|ADD)\s|$)", text):
        for part in (entry.strip() for entry in body.split(",")):
            if clause == "SET" and (match := re.fullmatch(r"(#?\w+) = (:\w+)", part)):
                made[names.get(match[1], match[1])] = values[match[2]]
            elif clause == "REMOVE" and re.fullmatch(r"#?\w+", part):
                made.pop(names.get(part, part), None)
            elif clause == "ADD" and (match := re.fullmatch(r"(#?\w+) (:\w+)", part)):
                name = names.get(match[1], match[1])
                before = Decimal(made.get(name, {"N": "0"})["N"])
                made[name] = {"N": str(before + Decimal(values[match[2]]["N"]))}
            else:
                raise NotSupported(text)
    return made
