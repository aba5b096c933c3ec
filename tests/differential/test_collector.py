"""MultiProcessCollector beside prometheus_client's own, over the same random programs.

Several processes, some killed and replaced; metrics of one name in several registries; every mode
of gauges; other buckets in other processes.
"""

from __future__ import annotations

import os

import pytest
from tests.plays.collector import MODES
from tests.programs import ROOT, run
from tests.test_autopatch import HOOK

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

SEED = int(os.environ.get("COLLECTOR_SEED", "1"))
PROGRAMS = int(os.environ.get("COLLECTOR_PROGRAMS", "40"))


# What `mpmetrics run` puts into the environment.
PATCHED = {"MPMETRICS_PATCH": "1", "PYTHONPATH": f"{HOOK.parent}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize(("how", "programs", "steps"), [("fork", PROGRAMS, 60), ("spawn", 3, 30)])
def test_same_as_theirs(how, programs, steps, store):
    """After each program the collector shows what prometheus_client's shows of its files."""
    play = "tests.plays.collector:pages", how, SEED, programs, steps
    files, *theirs = run(*play)
    ours_has_files, *ours = run(*play, store=store, **PATCHED)

    assert [True, False] == [files, ours_has_files]
    for (shapes, their_page), (_, our_page) in zip(theirs, ours, strict=True):
        assert their_page == our_page, shapes
    if how == "fork":
        modes = {shape["mode"] for shapes, _ in theirs for shape in shapes}
        assert set(MODES) <= modes, "other seeds, or more programs"
