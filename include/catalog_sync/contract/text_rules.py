"""The text rules: what a name, a price and any other text must look like, and how it is repaired."""

from __future__ import annotations

import html
import re

import polars as pl
from anyascii import anyascii

#: Amazon's maintenance page allows names of 1 to 100 characters, its API table 255; the stricter one holds.
NAME_MAX = 100
#: Every text field is at most this long (``upload_catalog``).
TEXT_MAX = 255
#: Letters, digits, ``. _ -``: Amazon says alphanumeric, and its own examples have a hyphen.
SKU_PATTERN = r"[A-Za-z0-9._-]{1,255}"

CONTROL = r"[\x00-\x1f\x7f-\x9f]"
_DROPPED = re.compile("[®©™℠℗]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"\s+")


def trimmed(text: pl.Expr) -> pl.Expr:
    """Return the text with runs of white space collapsed to one space and its ends trimmed."""
    return text.str.replace_all(r"\s+", " ").str.strip_chars()


def ascii_name(name: str) -> str:
    """Return the name in printable ASCII.

    HTML entities are decoded, registered and trademark signs dropped, accents folded and other scripts transliterated
    (by the library ``anyascii``); control characters go.
    """
    text = html.unescape(name) if "&" in name else name
    text = _CONTROLS.sub("", _DROPPED.sub("", text))
    return _SPACES.sub(" ", anyascii(text)).strip()


def cut_name(name: str, limit: int) -> str:
    """Return the name cut to ``limit`` characters, at a word's end where there is one."""
    if len(name) <= limit:
        return name
    head = name[:limit]
    if name[limit] != " " and " " in head.strip():
        head = head[: head.rstrip().rfind(" ")] if not head.endswith(" ") else head
    return head.rstrip()


def names(values: pl.Series, limit: int) -> pl.DataFrame:
    """Return, for each distinct name, what every repair makes of it: ``raw``, ``trim``, ``ascii``, ``cut``.

    Only distinct names are worked on, and only those that need it go through Python: a chain's stores share theirs.
    """
    distinct = values.drop_nulls().unique().to_frame("raw").with_columns(trim=trimmed(pl.col("raw")))
    strange = distinct.filter(pl.col("trim").str.contains(r"[^\x20-\x7e]|&"))["trim"].unique().to_list()
    clean = dict(zip(strange, map(ascii_name, strange), strict=True))
    distinct = distinct.with_columns(ascii=pl.col("trim").replace(clean))
    long = distinct.filter(pl.col("ascii").str.len_chars() > limit)["ascii"].unique().to_list()
    short = {name: cut_name(name, limit) for name in long}
    return distinct.with_columns(cut=pl.col("ascii").replace(short))


def price(text: pl.Expr) -> pl.Expr:
    """Return the price written canonically (``9.5`` → ``9.50``); null where it is no price.

    A price is non-negative, with a dot, and has at most two decimals that matter (U17).
    """
    whole = text.str.extract(r"^([0-9]*)(?:\.[0-9]*)?$", 1).str.strip_chars_start("0")
    decimals = text.str.extract(r"^[0-9]*\.([0-9]*)$", 1).fill_null("").str.strip_chars_end("0")
    good = text.str.contains(r"^(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)$") & (decimals.str.len_bytes() <= 2)
    written = pl.when(whole == "").then(pl.lit("0")).otherwise(whole) + "." + decimals.str.pad_end(2, "0")
    return pl.when(good).then(written)
