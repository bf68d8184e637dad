"""JSON rows as text: what JSON Lines files and JSON APIs have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from catalog_sync.errors import BadInput, shorten
from catalog_sync.sources.base import BATCH_ROWS, Unreadable, batch_of, check_names, fault, visible
from catalog_sync.sources.lines import Lines

Row = dict[str, str | None]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {shorten(next(name for name in names if names.count(name) > 1))!r} twice")
    return made


# Made once: ``json.loads`` makes one for each line.
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object)


def parse_json(text: str | bytes) -> Any:
    """Return the JSON value with numbers as the text they were written in, so that no digit is lost.

    :raises ValueError: it is no JSON, or an object has a key twice, of which one would be lost.
    :raises RecursionError: it is nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    return _DECODER.decode(text)


def text_row(value: Any) -> Row:
    """Return a JSON object as a row of text; ``ValueError`` when it is no object, or its keys are no text."""
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    if why := fault("".join(value)):
        raise ValueError(f"a key {why}")
    return {key: _text(one) for key, one in value.items()}


def _text(value: Any) -> str | None:
    """Return a JSON value as text: scalars as written, a list of scalars joined by ``|``, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and not any(isinstance(part, dict | list) for part in value):
        return "|".join(_text(part) or "" for part in value)
    return json.dumps(value, ensure_ascii=False)


def rows_batch(
    rows: list[Row], numbers: list[int], name: str, unreadable: list[Unreadable], encoding: str = "utf-8"
) -> pa.RecordBatch:
    """Return the rows as one batch; a key that a row lacks is null in it."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    check_names(columns, name)
    values = [[row.get(column) for column in columns] for row in rows]
    return batch_of(columns, values, numbers, name, unreadable, encoding)


def read_jsonl(stream: Any, name: str, encoding: str, unreadable: list[Unreadable]) -> Iterator[pa.RecordBatch]:
    """Yield the objects of a JSON Lines file, numbered by line; a line that is none is unreadable.

    :raises BadInput: the file is empty, or its last line is cut off.
    """
    rows: list[Row] = []
    numbers: list[int] = []
    lines = Lines(stream, name, encoding)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = text_row(parse_json(line))
        except (ValueError, RecursionError) as error:
            if not lines.ended:
                raise BadInput(
                    f"{name}: line {number}: the last line is no JSON and has no line end: the file is cut off; "
                    "nothing was read"
                ) from None
            reason = shorten(f"is no JSON object: {error}", 120)
            unreadable.append(Unreadable(number, name, reason, visible(line.rstrip())))
            continue
        rows.append(row)
        numbers.append(number)
        if len(rows) == BATCH_ROWS:
            yield rows_batch(rows, numbers, name, unreadable, encoding)
            rows, numbers = [], []
    if not lines.last:
        raise BadInput(f"{name}: is empty; nothing was read")
    if rows:
        yield rows_batch(rows, numbers, name, unreadable, encoding)
