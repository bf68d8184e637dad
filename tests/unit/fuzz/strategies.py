"""What comes in from outside, likely and hostile."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

#: Any text, halves of character pairs, NUL, line separators and the like among it.
TEXT = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", " ", "\0", "\ud800", "\x85", "\u2028", "\x1c", "NaN", "1e999", "=1+1", "é", "̈", "0" * 30]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
#: JSON text that ``json.dumps`` does not write: too deep, too large, keys twice, numbers of any length.
HOSTILE_JSON = st.sampled_from(
    [
        "[" * 100_000,
        "[" * 900 + "]" * 900,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"a":' * 100_000,
        "9" * 5000,
        "-" + "9" * 5000,
        "1" + "0" * 400 + ".5",
        "1e999999",
        '{"a": 1, "a": 2}',
        '{"a": NaN, "b": -Infinity}',
        '"\\ud800"',
        '{"\\ud800": "\\udc00"}',
        '"\\u0000"',
        "",
        " ",
        "\ufeff{}",
        "null",
    ]
)


def dumps(value: Any) -> str:
    """Return the JSON text of any value."""
    return json.dumps(value)


def some(*likely: Any) -> st.SearchStrategy[Any]:
    """One of the likely values, or anything at all."""
    return st.sampled_from(likely) | JSON


def documents(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that may have each of the keys, and others."""
    return st.builds(
        lambda known, other: {**other, **known},
        st.fixed_dictionaries({}, optional=keys),
        st.dictionaries(TEXT, JSON, max_size=2),
    )


def is_told_well(error: Exception, limit: int = 500) -> None:
    """Assert that an error's text is there, of bounded length, and printable."""
    assert 0 < len(str(error)) < limit
    assert all(line.isprintable() for line in str(error).split("\n"))


@st.composite
def hostile_values(draw: st.DrawFn, document: st.SearchStrategy[dict[str, Any]]) -> str:
    """JSON text of the document with one of its values replaced by hostile JSON text."""
    value = draw(document)
    text = dumps(value)
    if value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        rest = {name: one for name, one in value.items() if name != key}
        hostile = draw(HOSTILE_JSON.filter(lambda one: bool(one.strip()) and not one.startswith("\ufeff")))
        text = dumps(rest)[:-1] + (", " if rest else "") + f"{dumps(key)}: {hostile}" + "}"
    return text


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with some of them changed, put in, taken out, or the end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "insert", "delete", "cut"])):
            case "change" if data:
                data[place] = draw(st.integers(0, 255))
            case "insert":
                data[place:place] = draw(st.binary(max_size=4))
            case "delete":
                del data[place : place + draw(st.integers(1, 8))]
            case "cut":
                del data[place:]
    return bytes(data)
