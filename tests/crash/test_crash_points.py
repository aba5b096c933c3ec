"""A process killed at each crash point of the core, while it does Python's part of the work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.programs import ROOT, run
from tests.proved import record

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("crash_points", "nothing_left")]

# From the sources: none can be forgotten.
POINTS = [
    point
    for path in sorted((ROOT / "native").glob("*.c"))
    for point in re.findall(r'\bMPM_CRASH_POINT\("([^"]+)"\)', path.read_text())
]


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    """What was killed at all points together."""
    counts: Counter[str] = Counter()
    yield counts
    if counts["points"] == len(POINTS):
        record(
            "points",
            row="crash points of the core, passed by Python's part of the work",
            seen=f"{counts['points']} points, {counts['killed']} processes killed there and "
            f"{counts['killed repairs']:,} that came to repair",
            command="make crash",
        )


@pytest.mark.parametrize("point", POINTS)
def test_killed_at(point, tally):
    """Whatever is half done there, a scrape shows what was committed, and the next process goes on.

    Those who repair it are killed as well, one at each point. Then the store is whole, no block of
    it is lost, and there are as many shards as there were processes at one time.
    """
    outcome = run("tests.crash.points:kill_at", point, POINTS)

    assert [] == outcome["wrong"]
    assert outcome["killed"] > 0, "the work never passes this point"
    tally.update(points=1, **{kind: outcome[kind] for kind in ("killed", "killed repairs")})


def test_points_are_found():
    """The test above is about something, and each name is of one place."""
    assert len(POINTS) > 50
    assert sorted(set(POINTS)) == sorted(POINTS)
