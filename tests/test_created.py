"""The `_created` switch where PROMETHEUS_MULTIPROC_DIR comes and goes while the program runs."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

PLAYS = "tests.plays.created"


def test_variable_that_goes(tmp_path):
    """A scrape works, and shows the same, once the variable has gone from the environment."""
    assert [True, True, False] == run(f"{PLAYS}:variable_goes", str(tmp_path))
    assert [] == list(tmp_path.iterdir())


def test_variable_that_comes(tmp_path):
    """What was switched off before us stays off when the variable is set later."""
    assert [False, False, True] == run(f"{PLAYS}:variable_comes", str(tmp_path))
    assert [] == list(tmp_path.iterdir())
