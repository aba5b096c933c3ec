"""Who declares nothing and forks, or names its store by a relative path: one store all the same."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_pool_that_declares_first():
    """What only a pool's forked workers declare, in their tasks, is in their parent's scrape."""
    assert 20.0 == run("tests.plays.undeclared:pool", "fork", None)


def test_pool_in_a_named_store(method, tmp_path):
    """So it is, however the workers came to be, where the parent has named the store."""
    assert 20.0 == run("tests.plays.undeclared:pool", method, str(tmp_path / "store"))


def test_pool_in_a_store_named_outside(method, store):
    """Workers that have all ended have counted in the store that MPMETRICS_STORE names."""
    assert 20.0 == run(
        "tests.plays.undeclared:pool", method, None, store=store, MPMETRICS_PERSIST="1"
    )


def test_forks_before_the_first_metric():
    """Forks of a process without a metric count in one store, which is its own later."""
    assert [3.0] == run("tests.plays.undeclared:forks")


@pytest.mark.parametrize("first", ["fork", "thread"])
def test_fork_while_another_thread_declares(first):
    """Two that look for a store at a time have one, and what the other had made is gone."""
    assert [1.0, 1.0, 1] == run("tests.plays.undeclared:fork_while_another_thread_declares", first)


@pytest.mark.parametrize("counts", [False, True])
def test_store_named_after_a_fork(tmp_path, counts):
    """Store(path) after a fork, as in a daemon: what was made before the fork goes with the last.

    If a child counts there already one line says so."""
    path = str(tmp_path / "store")
    outcome = run("tests.plays.undeclared:named_after_a_fork", path, counts)

    assert [path, 1.0, True, False, 1 if counts else 0] == outcome


def test_forkserver_that_preloads_the_library():
    """A forkserver that has mpmetrics makes no store, since its parent may make one later."""
    assert 3.0 == run("tests.plays.undeclared:preloading_forkserver")


def test_relative_path(method, tmp_path):
    """A relative MPMETRICS_STORE is of the directory in which it was first needed."""
    path = str(tmp_path / "store")

    assert {
        "seen": [2.0, 2.0],
        "has name": True,
        "named again": path,
        "path": path,
    } == run("tests.plays.undeclared:relative", method, str(tmp_path))
