"""The storm: processes killed and stopped at random while others scrape without pause.

MPM_STORM_SEED replays the plan of a run (which says its seed), MPM_STORM_KILLS is its length.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from tests.crash.storm_board import KINDS, WORKERS
from tests.programs import run
from tests.proved import record

KILLS = int(os.environ.get("MPM_STORM_KILLS", "40"))
SEED = int(os.environ.get("MPM_STORM_SEED") or random.randrange(1 << 30))
SECONDS = 60 + KILLS  # ten times what it takes
OTHERS = 3  # that have a shard: who kills, a scraper that was spawned, the forkserver


def storm(folder: Path, kills: int, **variables: str) -> dict[str, Any]:
    """What came of a storm."""
    print(f"MPM_STORM_SEED={SEED}")
    arguments = (str(folder), kills, SEED)
    outcome = run("tests.crash.storm:storm", *arguments, limit=SECONDS, **variables)
    assert isinstance(outcome, dict)
    print(outcome)
    return outcome


def problems(outcome: dict[str, Any]) -> list[str]:
    """Everything that a storm must not leave behind."""
    wrong = list(outcome["wrong"])
    if wrong:
        return wrong
    if outcome["check"] is not None:
        wrong.append(f"the store is damaged: {outcome['check']}")
    if not 0 <= outcome["unacknowledged"] <= outcome["kills"]:
        wrong.append(f"{outcome['unacknowledged']} unacknowledged updates count")
    if outcome["live"]:
        wrong.append(f"the dead are shown: {outcome['live']}")
    if outcome["series"] != len(KINDS):
        wrong.append(f"{outcome['series']} series are left")
    if outcome["shards"] > WORKERS + OTHERS:
        wrong.append(f"there are {outcome['shards']} shards")
    if outcome["private"]:
        wrong.append(f"{outcome['private']} metrics count privately")
    return wrong


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
def test_storm(tmp_path, nothing_left):
    """Whoever is killed or stopped wherever: no scrape tears, no total goes back, nothing is lost.

    Seven workers of each start method do every update that there is, two processes scrape. Nothing
    hangs for 10 s. No scrape has less than what was acknowledged before it, outside of the store;
    at the end at most one update more a kill. Now and then all workers are stopped where they are,
    and the page must be exact. What a worker alone counts in a new label set, that set shows. At
    the end the store is whole, and has the series and the shards that it must have.
    """
    outcome = storm(tmp_path, KILLS)

    assert [] == problems(outcome)
    assert outcome["kills"] >= KILLS
    assert outcome["scrapes"] > 0
    record(
        "storm",
        row="processes killed and stopped at random moments, while two others scrape",
        seen=f"{outcome['kills']:,} kills and {outcome['stops']:,} stops among "
        f"{outcome['updates']:,} updates and {outcome['scrapes']:,} scrapes: nothing lost, torn, "
        f"backwards or hung; {outcome['repairs']:,} deaths inside the lock; "
        f"{outcome['unacknowledged']:.0f} updates counted that nobody had acknowledged yet",
        command="make crash",
    )
    record(
        "scrape",
        row=f"the longest scrape of that storm, {WORKERS + 2} processes on {os.cpu_count()} cores",
        seen=f"{outcome['longest scrape'] * 1000:.0f} ms; with every worker stopped where it was "
        f"({outcome['looks at rest']} times) {outcome['longest scrape at rest'] * 1000:.0f} ms",
        command="make crash",
    )
