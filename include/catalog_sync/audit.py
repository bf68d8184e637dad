"""The audit trail: who or what sent, approved, refused or released what, append-only and tamper-evident.

Each entry is an object of its own in the lake, ``audit/<number>.json``, written if there is none of that number. It
carries the SHA-256 of the entry before it, so that an entry cannot be changed, removed or put in between without all
later ones telling. Who can write the whole lake can write the whole chain anew: keep the last hash elsewhere, or give
the prefix an S3 Object Lock.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from catalog_sync.clock import iso
from catalog_sync.errors import BadInput, RetryLater, shorten

if TYPE_CHECKING:
    from catalog_sync.lake import Lake
    from catalog_sync.run import Run

PREFIX = "audit"
#: Stands for the entry before the first.
GENESIS = "0" * 64
_TRIES = 20
_NAME = re.compile(r"(\d{12})\.json")


class What(StrEnum):
    """What is recorded."""

    UPLOAD = "upload"
    ARCHIVE = "archive"
    HELD = "held"
    APPROVED = "approved"
    REJECTED = "rejected"
    NOT_ANSWERED = "not answered"


#: What becomes of the question about what a run holds. The last one counts, so that each may be recorded again.
ANSWERS = (What.APPROVED, What.REJECTED, What.NOT_ANSWERED)


@dataclass(frozen=True)
class Entry:
    """One entry. ``who``: a user's name, or in brackets the kind of a run that nobody started; ``before``: a hash."""

    number: int
    at: str
    who: str
    what: str
    run_id: str
    details: dict[str, Any]
    before: str

    def text(self) -> bytes:
        """Return the entry as it is written; its hash is the SHA-256 of this."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode()


@dataclass(frozen=True)
class Verdict:
    """What verifying found: how many ``entries``, the ``last`` hash, and what is wrong, a sentence each."""

    entries: int
    last: str
    problems: list[str]


def record(run: Run, what: What, details: Mapping[str, Any], who: str = "") -> Entry:
    """Append an entry; one that says the same of the same run is there already, and is returned.

    Of answers that is only the last one: who approves again after a rejection says something new.

    :param details: counts, hashes and reasons, of at most 500 characters each.
    :param who: a user's name; by default whoever started the run.
    :raises RetryLater: others kept appending.
    """
    clean = {key: shorten(value, 500) if isinstance(value, str) else value for key, value in details.items()}
    by = shorten(who or run.options.by or f"({run.options.kind.value})")
    trail = f"AUDIT#{run.settings.retailer}"
    number, before = _end(run.lake, int((run.ledger.get(trail, "LAST") or {}).get("number", 0)))
    # A task that is tried again records nothing twice: its entry is at this number or after it.
    run.ledger.put_new({"pk": trail, "sk": f"{run.run_id}#{what.value}", "number": number})
    if found := _standing(run, what):
        return found
    for _ in range(_TRIES):
        entry = Entry(number, iso(run.clock.time()), by, what.value, run.run_id, clean, before)
        if run.lake.create(_key(number), entry.text()):
            run.ledger.update(trail, "LAST", {"number": number})
            return entry
        # By another, or by ourselves: an object store repeats a write whose answer was lost.
        if found := _standing(run, what):
            return found
        number, before = _end(run.lake, number)
    raise RetryLater("audit: others kept appending; try again", after=10)


def find(run: Run, what: What) -> Entry | None:
    """Return the first entry of that kind about the run, if there is one."""
    known = run.ledger.get(f"AUDIT#{run.settings.retailer}", f"{run.run_id}#{what.value}")
    trail = _from(run.lake, int(known["number"])) if known else ()
    return next((entry for entry, _ in trail if (entry.run_id, entry.what) == (run.run_id, what.value)), None)


def last_answer(run: Run, first: Entry) -> Entry:
    """Return the last of the ``ANSWERS`` about what the run holds; ``first`` is one of them."""
    answers = (one for one in after(run.lake, first) if one.run_id == run.run_id and one.what in ANSWERS)
    return max(answers, key=lambda one: one.number, default=first)


def after(lake: Lake, entry: Entry) -> Iterator[Entry]:
    """Yield the entries after this one, in order."""
    for later, _ in _from(lake, entry.number + 1):
        yield later


def entries(lake: Lake) -> Iterator[Entry]:
    """Yield the entries in order, as far as there are any without a gap."""
    for entry, _ in _from(lake, 1):
        yield entry


def verify(run: Run) -> Verdict:
    """Read the whole trail of the run's deployment and return what is wrong with it."""
    lake = run.lake
    numbers = sorted(int(found[1]) for key in lake.keys(PREFIX) if (found := _NAME.fullmatch(key.rpartition("/")[2])))
    problems, before, last = [], GENESIS, 0
    for number in numbers:
        if number != last + 1:
            problems.append(f"{_span(last + 1, number - 1)} missing")
        data = lake.get(_key(number))
        try:
            entry = Entry(**json.loads(data))
        except (ValueError, TypeError):
            problems.append(f"entry {number} is no entry")
            entry = None
        if entry is not None and entry.number != number:
            problems.append(f"entry {number} says that it is {entry.number}")
        if entry is not None and number == last + 1 and entry.before != before:
            problems.append(f"entry {number} does not follow from entry {last}: one of them was changed")
        before, last = hashlib.sha256(data).hexdigest(), number
    known = int((run.ledger.get(f"AUDIT#{run.settings.retailer}", "LAST") or {}).get("number", 0))
    if known > last:
        problems.append(f"{_span(last + 1, known)} missing")
    return Verdict(len(numbers), before, problems)


def _standing(run: Run, what: What) -> Entry | None:
    """Return the entry that says this of the run already."""
    found = find(run, what)
    if found is None or what not in ANSWERS:
        return found
    last = last_answer(run, found)
    return last if last.what == what else None


def _span(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _key(number: int) -> str:
    return f"{PREFIX}/{number:012d}.json"


def _from(lake: Lake, number: int) -> Iterator[tuple[Entry, str]]:
    """Yield the entries from this number on, each with its hash."""
    while lake.exists(_key(number)):
        data = lake.get(_key(number))
        try:
            entry = Entry(**json.loads(data))
        except (ValueError, TypeError):
            raise BadInput(
                f"{lake.url(_key(number))}: is no entry of the audit trail; somebody has changed it. "
                "'python -m catalog_sync audit' shows what else is wrong"
            ) from None
        yield entry, hashlib.sha256(data).hexdigest()
        number += 1


def _end(lake: Lake, hint: int) -> tuple[int, str]:
    """Return the number of the next entry and the hash of the last.

    :param hint: an entry to look from; the ledger may lag behind the lake, or be a new one.
    """
    number, before = 0, GENESIS
    for entry, digest in _from(lake, max(hint, 1)):
        number, before = entry.number, digest
    if number == 0 and hint > 1:
        return _end(lake, 1)
    return number + 1, before
