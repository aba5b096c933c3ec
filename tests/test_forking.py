"""An update converts its argument first; what that does to the process is seen by the update."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

# How much more is shown after an update by both: a gauge is set to 1 by each, and was 1.
MORE = {
    "counter": 2.0,
    "counter, exemplar": 2.0,
    "summary": 2.0,
    "histogram": 2.0,
    "histogram, exemplar": 2.0,
    "gauge": 1.0,
    "labels": 2.0,
    "state": 1.0,
}


@pytest.mark.parametrize("name", MORE)
def test_fork_in_the_argument(name):
    """A child forked while an argument is converted counts as a process of its own."""
    assert {"processes": 2, "more": MORE[name]} == run("tests.plays.forking:counted", name)
