"""Workers killed by SIGKILL wherever they happen to be."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]
KILLS = 50


def test_killed_while_observing(method, tmp_path):
    """After each of 50 kills the next scrape works and says what was committed, to the last one.

    Each worker takes over the shard of the one before: there are two in all from the first on."""
    outcome = run("tests.crash.killed:kill_again_and_again", method, KILLS, str(tmp_path))

    assert [] == outcome["wrong"]
    assert {"processes": 2, "free_shards": 0, "private": 0} == outcome["alive"]
    assert {"processes": 1, "free_shards": 1, "private": 0} == outcome["dead"]


def test_killed_while_making_series(tmp_path):
    """Two workers killed while they make and remove label sets leave a store that goes on.

    Its lock is not poisoned, nothing is counted privately for long, and it does not grow."""
    outcome = run("tests.crash.killed:kill_in_the_lock", 150, str(tmp_path))

    assert 0 == outcome["lost"]
    assert outcome["slowest"] < 10.0
    assert 0 == outcome["private"]
    assert 3 == outcome["shards"]
    assert 1 == len(set(outcome["sizes"][1:]))
    assert outcome["repairs"] > 0, "no kill hit the lock"


def test_stopped_while_making_series():
    """A worker that is stopped while it holds the lock delays nobody, and nothing is lost."""
    outcome = run("tests.crash.killed:stopped")

    assert outcome["slowest"] < 10.0
    assert 20.0 == outcome["found"]
    assert 0 == outcome["private"]


def test_begun_beside_a_stopped_owner(method):
    """A process that begins while the owner of the lock stands still shows what the store has.

    Its first scrape is the same as that of a process that could."""
    outcome = run("tests.crash.killed:page_beside_a_stopped_owner", method)

    assert {'labelled_total{n="mine"}': 3.0, "seconds_count": 1.0}.items() <= outcome[
        "ours"
    ].items()
    assert outcome["ours"] == outcome["theirs"]
    assert outcome["private"] > 0, "the lock was free"


def test_killed_with_threads():
    """What several threads of a killed process committed is counted, and counting goes on."""
    assert run("tests.crash.killed:thread_killed_with_process")
