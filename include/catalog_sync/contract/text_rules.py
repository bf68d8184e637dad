"""The text rules: what a name, a price and any other text must look like, and how it is repaired."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from html.entities import html5

import polars as pl
from anyascii import anyascii

from catalog_sync.contract.codes import Code

#: The rules of a name, in the order in which they are applied.
NAME_RULES = (Code.NAME_TRIM, Code.NAME_ASCII, Code.NAME_LENGTH)

#: Amazon's maintenance page allows names of 1 to 100 characters, its API table 255; the stricter one holds.
NAME_MAX = 100
#: Every text field is at most this long (``upload_catalog``).
TEXT_MAX = 255
#: Letters, digits, ``. _ -``: Amazon says alphanumeric, and its own examples have a hyphen.
SKU_PATTERN = r"[A-Za-z0-9._-]{1,255}"

CONTROL = r"[\x00-\x1f\x7f-\x9f]"
#: Registered, copyright, trademark signs; what nobody sees: bidirectional marks, joiners, variation selectors, tags.
_DROPPED = re.compile("[®©™℠℗\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"\s+")
#: An HTML entity. A name needs its semicolon ("Apple&currant" holds no ``&curren``); of a number it may be cut off.
_ENTITY = re.compile(r"&(?:([A-Za-z][A-Za-z0-9]*;)|#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6})(?:;|(?=\s|$)))")
#: An ampersand that was encoded, however often.
_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)+")
#: Where emoji lie; among them are signs with a plain form (``★``, ``✓``), which stay.
_PICTURES = re.compile("[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]")


def trimmed(text: pl.Expr) -> pl.Expr:
    """Return the text with runs of white space collapsed to one space and its ends trimmed."""
    return text.str.replace_all(r"\s+", " ").str.strip_chars()


def ascii_name(name: str) -> str:
    """Return the name in printable ASCII.

    HTML entities are decoded (also such as were encoded twice), registered and trademark signs dropped, accents folded
    and other scripts transliterated (by the library ``anyascii``). Control characters go, and so do emoji: they are
    pictures, no script, and a receipt would print the library's ``:hearts:``.
    """
    text = _decoded(name)
    text = _CONTROLS.sub("", _DROPPED.sub("", text))
    text = _SPACES.sub(" ", anyascii(_PICTURES.sub(_plain_sign, text))).strip()
    # A transliteration may spell an entity (a full-width ampersand): the result must not change when judged again.
    return text if text == name or not _ENTITY.search(text) else ascii_name(text)


def _decoded(text: str) -> str:
    while (plain := _ENTITY.sub(_entity, _AMPERSAND.sub("&", text))) != text:
        text = plain
    return text


def _entity(entity: re.Match[str]) -> str:
    name = entity[1]
    return html5.get(name, entity[0]) if name else html.unescape(entity[0])


def _plain_sign(sign: re.Match[str]) -> str:
    return " " if re.fullmatch(r":[^:]+:", anyascii(sign[0])) else sign[0]


def cut_name(name: str, limit: int) -> str:
    """Return the name cut to ``limit`` characters, at a word's end where there is one."""
    if len(name) <= limit:
        return name
    head = name[:limit]
    if name[limit] != " " and " " in head.strip():
        head = head[: head.rstrip().rfind(" ")] if not head.endswith(" ") else head
    return head.rstrip()


def names(values: pl.Series, limit: int, repairing: Collection[Code]) -> pl.DataFrame:
    """Return, for each name, what each name rule makes of it. Only distinct ones that need it go through Python.

    :param repairing: the name rules that repair; what another finds is left in the name.
    :returns: a line per name: for each rule of ``NAME_RULES`` a column named by its code with the text the rule asks
        for, and ``before_<code>`` with the text it judged; ``name``, the name after all repairs.
    """
    frame = values.to_frame("name")
    for rule in NAME_RULES:
        frame = frame.with_columns(
            pl.col("name").alias(f"before_{rule}"), _ruled(frame["name"], rule, limit).alias(rule)
        )
        if rule in repairing:
            frame = frame.with_columns(name=pl.col(rule))
    return frame


def _ruled(names: pl.Series, rule: Code, limit: int) -> pl.Series:
    if rule is Code.NAME_TRIM:
        return names.to_frame().select(trimmed(pl.first())).to_series()
    if rule is Code.NAME_ASCII:
        broken = names.filter(names.str.contains(r"[^\x20-\x7e]|&")).unique().to_list()
        mended = {name: ascii_name(name) for name in broken}
    else:
        broken = names.filter(names.str.len_chars() > limit).unique().to_list()
        mended = {name: cut_name(name, limit) for name in broken}
    return names.replace(mended) if mended else names


def price(text: pl.Expr) -> pl.Expr:
    """Return the price written canonically (``9.5`` → ``9.50``); null where it is no price.

    A price is non-negative, with a dot, and has at most two decimals that matter (U17).
    """
    whole = text.str.extract(r"^([0-9]*)(?:\.[0-9]*)?$", 1).str.strip_chars_start("0")
    decimals = text.str.extract(r"^[0-9]*\.([0-9]*)$", 1).fill_null("").str.strip_chars_end("0")
    good = text.str.contains(r"^(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$") & (decimals.str.len_bytes() <= 2)
    written = pl.when(whole == "").then(pl.lit("0")).otherwise(whole) + "." + decimals.str.pad_end(2, "0")
    return pl.when(good).then(written)
