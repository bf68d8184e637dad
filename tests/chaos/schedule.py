"""What may happen: nights with edits, faults, deaths and other runs in between. A schedule prints as a short story."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from tests.chaos.world import SKUS, STORES, Key

from catalog_sandbox.faults import FAULTS

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

#: Faults of Amazon's that strike once or a few times. Archives are not sent yet.
_STRIKES = sorted(name for names in FAULTS.values() for name in names)


@dataclass(frozen=True)
class Edit:
    """One change of the source: ``what`` is price, back, bad, drop, move (its barcode), empty or lost."""

    what: str
    key: Key = ("S1", "A")

    def __str__(self) -> str:
        where = "" if self.what in ("empty", "lost") else f" {self.key[0]}/{self.key[1]}"
        return f"{self.what}{where}"


@dataclass(frozen=True)
class Strike:
    """A fault of Amazon's, after ``skip`` chances let pass, ``times`` times."""

    fault: str
    skip: int = 0
    times: int = 1

    def __str__(self) -> str:
        return f"{self.fault} after {self.skip}" + (f" ×{self.times}" if self.times > 1 else "")

    def scripted(self) -> dict[str, Any]:
        """Return the line of the sandbox's script."""
        return {"fault": self.fault, "skip": self.skip, "times": self.times}


@dataclass(frozen=True)
class Incident:
    """Something in the middle of a run, ``after`` so many points: its process dies, or another run comes between."""

    after: int
    #: ``retry``: the task is tried again. ``abandon``: the run is never touched again.
    what: str = "retry"
    other: Night | None = None

    def __str__(self) -> str:
        told = {"retry": "killed and tried again", "abandon": "killed for good", "other": "another run meanwhile"}
        return f"{told[self.what]} at point +{self.after}" + (f" [{self.other}]" if self.other else "")


@dataclass(frozen=True)
class Night:
    """One run, and what happens before and during it. ``store``: it is a backfill of that store alone."""

    edits: tuple[Edit, ...] = ()
    strikes: tuple[Strike, ...] = ()
    incidents: tuple[Incident, ...] = ()
    junk: tuple[str, ...] = ()
    store: str = ""
    #: A stage of an earlier run that somebody clears first: how many runs ago, and its name.
    cleared: tuple[int, str] | None = None
    failing_deletes: int = 0
    pause: float = DAY

    def __str__(self) -> str:
        parts = [f"backfill of {self.store}" if self.store else "night"]
        parts += [f"source: {', '.join(map(str, self.edits))}"] if self.edits else []
        parts += [f"Amazon: {', '.join(map(str, self.strikes))}"] if self.strikes else []
        parts += [f"queue: {', '.join(self.junk)}"] if self.junk else []
        parts += [f"{self.failing_deletes} deletes fail"] if self.failing_deletes else []
        parts += [f"{self.cleared[1]} of {self.cleared[0]} runs ago is cleared first"] if self.cleared else []
        parts += [str(incident) for incident in self.incidents]
        return "; ".join(parts) + f"; then {self.pause / HOUR:g} h"


@dataclass(frozen=True)
class Schedule:
    """Some nights, and the seed of all other chance."""

    seed: int = 0
    nights: tuple[Night, ...] = field(default=(Night(),))

    def __str__(self) -> str:
        lines = [f"{number}. {night}" for number, night in enumerate(self.nights, 1)]
        return "\n".join([f"seed {self.seed}", *lines])


_keys = st.tuples(st.sampled_from(STORES), st.sampled_from(SKUS))
_edits = st.builds(
    Edit,
    st.sampled_from(["price", "price", "price", "back", "bad", "drop", "move", "empty", "lost"]),
    _keys,
)
_strikes = st.builds(Strike, st.sampled_from(_STRIKES), st.integers(0, 4), st.sampled_from([1, 1, 1, 2, 6]))
_pauses = st.sampled_from([10 * MINUTE, HOUR, 5 * HOUR, DAY, DAY, 26 * HOUR])
_deaths = st.builds(Incident, st.integers(0, 150), st.sampled_from(["retry", "retry", "retry", "abandon"]))
_junk = st.lists(st.sampled_from(["malformed", "unknown ingestion", "repeat", "not a state"]), max_size=2).map(tuple)


def _nights(incidents: st.SearchStrategy[Incident]) -> st.SearchStrategy[Night]:
    return st.builds(
        Night,
        edits=st.lists(_edits, max_size=3).map(tuple),
        strikes=st.lists(_strikes, max_size=3).map(tuple),
        incidents=st.lists(incidents, max_size=2).map(tuple),
        junk=_junk,
        store=st.sampled_from(["", "", "", "S1"]),
        cleared=st.none() | st.tuples(st.integers(1, 3), st.sampled_from(["plan", "upload", "collect", "settle"])),
        failing_deletes=st.sampled_from([0, 0, 0, 2]),
        pause=_pauses,
    )


_others = st.builds(Incident, st.integers(0, 150), st.just("other"), _nights(_deaths).map(lambda night: night))

#: Every schedule that is played.
schedules = st.builds(
    Schedule, st.integers(0, 2**16), st.lists(_nights(_deaths | _others), min_size=1, max_size=3).map(tuple)
)
