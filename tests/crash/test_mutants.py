"""The storm can see: it fails when the core makes a mistake on purpose.

Only in the build that has them (`make mutants`): MPM_MUTANT("name") in the core is a mistake that
the environment chooses. Here are those that x86-64 can show; what only ARM may reorder is searched
by the models (tests/models).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.crash.test_storm import problems, storm
from tests.programs import ROOT
from tests.proved import record

KILLS = 300
NAMES = sorted(
    {
        name
        for path in (ROOT / "native").glob("*.c")
        for name in re.findall(r'\bMPM_(?:MUTANT|MISPLACED)\("([^"]+)"', path.read_text())
    }
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("mutants", "nothing_left"),
]


def test_without_mistake(tmp_path):
    """The same build without a mistake withstands the storm."""
    assert [] == problems(storm(tmp_path, KILLS))


@pytest.fixture(scope="module")
def seen() -> Iterator[list[str]]:
    """The mistakes that were seen."""
    names: list[str] = []
    yield names
    if names == NAMES:
        record(
            "mutants",
            row=f"deliberate mistakes in the core, of which a storm of {KILLS} kills must see each",
            seen=f"{len(names)} of {len(NAMES)}: {', '.join(names)}",
            command="make mutants",
        )


@pytest.mark.parametrize("name", NAMES)
def test_storm_sees(name, tmp_path, seen):
    """A storm of at most 300 kills finds the mistake."""
    assert [] != problems(storm(tmp_path, KILLS, MPM_MUTANT=name))
    seen.append(name)
