"""What may happen: nights with edits, faults, deaths and other runs in between. A schedule prints as a short story."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from tests.chaos.rows import SKUS, STORES, Key

from catalog_sandbox.faults import FAULTS

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

#: Faults of Amazon's that strike once or a few times. Archives are not sent yet.
_STRIKES = sorted(name for names in FAULTS.values() for name in names)


@dataclass(frozen=True)
class Edit:
    """One change of the source.

    ``what`` is price, back, bad, drop, move (its barcode), empty or lost; of a whole store: prices (each is another),
    spoiled (half of its rows become bad), short (half of them are missing); of a SKU: leave (every store); and of the
    whole source: export (for this one night an old file lies there, as old as it is).
    """

    what: str
    key: Key = ("S1", "A")

    def __str__(self) -> str:
        if self.what in ("empty", "lost", "export"):
            return self.what
        if self.what == "leave":
            return f"{self.key[1]} leaves every store"
        where = f" of {self.key[0]}" if self.what in ("prices", "spoiled", "short") else f" {self.key[0]}/{self.key[1]}"
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
    """One run, and what happens before and during it.

    ``store``: it is a backfill of that store alone. ``drains``: it is the hourly job, which only collects and settles.
    """

    edits: tuple[Edit, ...] = ()
    strikes: tuple[Strike, ...] = ()
    incidents: tuple[Incident, ...] = ()
    junk: tuple[str, ...] = ()
    store: str = ""
    drains: bool = False
    #: A stage of an earlier run that somebody clears first: how many runs ago, and its name; with a + all that follow.
    cleared: tuple[int, str] | None = None
    failing_deletes: int = 0
    pause: float = DAY
    #: What a person says to what the newest run that holds rows, or the one before, holds: approve, reject, or mistyped
    #: (the hash). This run is then to release it.
    answer: tuple[int, str] | None = None
    #: SKUs that Amazon refuses meanwhile, to archive as well, and such in whose presence it refuses the whole request.
    refused: tuple[str, ...] = ()
    poison: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = ["hourly job" if self.drains else f"backfill of {self.store}" if self.store else "night"]
        parts += [f"source: {', '.join(map(str, self.edits))}"] if self.edits else []
        parts += [f"Amazon: {', '.join(map(str, self.strikes))}"] if self.strikes else []
        parts += [f"queue: {', '.join(self.junk)}"] if self.junk else []
        parts += [f"{self.failing_deletes} deletes fail"] if self.failing_deletes else []
        parts += [f"{self.cleared[1]} of {self.cleared[0]} runs ago is cleared first"] if self.cleared else []
        newest = {1: "the newest", 2: "the newest but one"}
        parts += [f"{self.answer[1]} what {newest[self.answer[0]]} run that holds rows holds"] if self.answer else []
        parts += [f"Amazon refuses {', '.join(self.refused)}"] if self.refused else []
        parts += [f"Amazon refuses requests with {', '.join(self.poison)}"] if self.poison else []
        parts += [str(incident) for incident in self.incidents]
        return "; ".join(parts) + f"; then {self.pause / HOUR:g} h"


@dataclass(frozen=True)
class Schedule:
    """Some nights, and the seed of all other chance.

    ``guarded``: the guards' limits are as narrow as the catalog is small, and old sources are stale. ``mended``: when
    the source comes to rest, its bad rows are good again. ``loaded``: the first load went well, the night before.
    """

    seed: int = 0
    nights: tuple[Night, ...] = field(default=(Night(),))
    guarded: bool = False
    mended: bool = True
    loaded: bool = False

    def __str__(self) -> str:
        lines = [f"{number}. {night}" for number, night in enumerate(self.nights, 1)]
        more = [", narrow guards"] * self.guarded + [", bad rows stay bad"] * (not self.mended)
        more += [", loaded before"] * self.loaded
        return "\n".join([f"seed {self.seed}{''.join(more)}", *lines])


_keys = st.tuples(st.sampled_from(STORES), st.sampled_from(SKUS))
_edits = st.builds(
    Edit,
    st.sampled_from(
        ["price"] * 6
        + ["back"] * 2
        + ["bad"] * 2
        + ["drop"] * 2
        + ["move"] * 2
        + ["empty", "lost"]
        + ["prices", "leave", "leave", "leave"]
        + ["prices"]
        + ["spoiled", "short", "export"]
    ),
    _keys,
)
_strikes = st.builds(Strike, st.sampled_from(_STRIKES), st.integers(0, 4), st.sampled_from([1, 1, 1, 2, 6]))
_pauses = st.sampled_from([10 * MINUTE, HOUR, 5 * HOUR, DAY, DAY, 26 * HOUR])
_deaths = st.builds(Incident, st.integers(0, 150), st.sampled_from(["retry", "retry", "retry", "abandon"]))
_answers = st.sampled_from(["approve", "approve", "approve", "reject", "mistyped"])
_few_skus = st.sampled_from([()] * 6 + [(sku,) for sku in SKUS[:2]])
_junk = st.lists(st.sampled_from(["malformed", "unknown ingestion", "repeat", "not a state"]), max_size=2).map(tuple)


#: What somebody may clear.
CLEARED = ("plan", "upload", "collect", "settle", "account", "extract+", "prepare+", "plan+", "upload+", "settle+")


def _nights(incidents: st.SearchStrategy[Incident]) -> st.SearchStrategy[Night]:
    return st.builds(
        Night,
        edits=st.lists(_edits, max_size=3).map(tuple),
        strikes=st.lists(_strikes, max_size=3).map(tuple),
        incidents=st.lists(incidents, max_size=2).map(tuple),
        junk=_junk,
        store=st.sampled_from(["", "", "", "S1"]),
        drains=st.sampled_from([False] * 5 + [True]),
        cleared=st.none() | st.tuples(st.integers(1, 3), st.sampled_from(CLEARED)),
        failing_deletes=st.sampled_from([0, 0, 0, 2]),
        pause=_pauses,
        answer=st.none() | st.tuples(st.integers(1, 2), _answers),
        refused=_few_skus,
        poison=_few_skus,
    )


_others = st.builds(Incident, st.integers(0, 150), st.just("other"), _nights(_deaths).map(lambda night: night))

#: Every schedule that is played.
schedules = st.builds(
    Schedule,
    st.integers(0, 2**16),
    st.lists(_nights(_deaths | _others), min_size=1, max_size=3).map(tuple),
    guarded=st.booleans(),
    mended=st.booleans(),
    loaded=st.booleans(),
)
