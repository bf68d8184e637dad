"""Processes are killed in the middle of a night and started again: nothing is lost, doubled or put back."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.e2e.kill_stack import KillStack
from tests.e2e.kills import PROCESSES, Kill, Outcome, play

from catalog_local.environment import CHECKOUT

SEED = 1
KILLS_OF_EACH = 10
#: The table of the long proof.
TABLE = CHECKOUT / ".local" / "kills.json"

pytestmark = [
    pytest.mark.enable_socket,
    # Popen's, for processes that outlive the object: what started them knows them by their files.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillStack]:
    """One deployment for all kills."""
    made = KillStack.start(tmp_path_factory.mktemp("kills"))
    yield made
    made.stop()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kill",
    [
        Kill("scheduler", "upload 2", "with its tasks"),
        Kill("dag-processor", "running prepare"),
        Kill("worker", "running upload", "the task"),
        Kill("triggerer", "waiting 0"),
        Kill("api-server", "upload 3"),
        Kill("sandbox", "upload 2", "for 1 s"),
    ],
    ids=PROCESSES,
)
def test_a_process_is_killed_in_mid_run(stack: KillStack, kill: Kill) -> None:
    """The run, or the next night, ends with balanced books and Amazon's catalog equal to the source; no 429."""
    made = play(stack, kill)
    assert made.good, json.dumps(made.as_dict(), indent=1)


@pytest.mark.prove
@pytest.mark.timeout(3 * 3600)
def test_many_kills(stack: KillStack, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten kills of each process, at drawn moments in a drawn order, on one deployment."""
    kills = [kill for process in PROCESSES for kill in Kill.drawn(process, KILLS_OF_EACH, SEED)]
    random.Random(SEED).shuffle(kills)
    outcomes: list[Outcome] = []
    for kill in kills:
        try:
            outcomes.append(play(stack, kill))
        except AssertionError as late:
            outcomes.append(Outcome(kill.process, kill.moment, kill.way, problems=[str(late)]))
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(json.dumps([one.as_dict() for one in outcomes], indent=1), encoding="utf-8")
        with capsys.disabled():
            print(f"{len(outcomes):3} {_line(outcomes[-1])}", flush=True)
    with capsys.disabled():
        print(_table(outcomes))
    assert [one for one in outcomes if not one.good] == []


def _line(one: Outcome) -> str:
    told = f"{one.process}, {one.moment}, {one.way}: recovered {one.recovered}, {'+'.join(one.states)}"
    return f"{told}, {one.seconds:.0f} s {'' if one.good else one.problems}"


def _table(outcomes: list[Outcome]) -> str:
    head = ("process", "kills", "run itself", "next night", "books", "catalog", "requests", "seconds")
    rows = [head]
    for process in PROCESSES:
        mine = [one for one in outcomes if one.process == process]
        recovered = Counter(one.recovered for one in mine)
        counts = (
            sum(one.struck for one in mine), recovered["itself"], recovered["the next night"],
            sum(one.books_balanced for one in mine), sum(one.catalog_right for one in mine),
            sum(one.requests_right for one in mine), round(sum(one.seconds for one in mine) / max(len(mine), 1)),
        )  # fmt: skip
        rows.append((process, *map(str, counts)))
    return "\n".join("  ".join(f"{cell:<13}" for cell in row) for row in rows)
