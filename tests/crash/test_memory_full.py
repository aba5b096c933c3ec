"""No room for more: in a file, on a file system, among the addresses of a process.

No update and no labels() raises, what was there stays exact, what can't be shared is counted by its
process alone and poured in once there is room, and one line of the log says so.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.programs import run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


def tried(function: str, *args: Any, **more: Any) -> dict[str, Any]:
    """What the function answers; the test is skipped where it may not do what it must."""
    answer: dict[str, Any] = run(f"tests.crash.full:{function}", *args, **more)
    if "refused" in answer:
        pytest.skip(answer["refused"])
    return answer


def check_refused(outcome: dict[str, Any]) -> None:
    assert {} == outcome["wrong"]
    for lines in outcome["lines"]:
        assert len(lines) <= 1
        assert all("no room is left" in line for line in lines)
    assert 1 == len(outcome["lines"][0])


def test_file_may_not_grow(store, method):
    """RLIMIT_FSIZE refuses: all that is promised of a full store, for each kind of metric.

    A new process counts in the series that are there, in bytes that were kept for it."""
    check_refused(tried("refused", "fsize", method, store=store))


def test_file_system_is_full(store):
    """The same where tmpfs has no page left; nothing is touched that isn't there (SIGBUS)."""
    check_refused(tried("refused", "tmpfs", "fork", store=store))


def test_nothing_may_be_written():
    """Where no file may have a byte a program starts all the same, and shares with its forks."""
    outcome = tried("nothing_may_be_written")

    assert {"wrong": {}, "path": None, "private": 0, "lines": []} == outcome


def test_no_tmpfs():
    """Where /dev/shm is full from the start the memory is a memfd's, for forks."""
    assert {"wrong": {}, "lines": []} == tried("no_tmpfs")


def test_little_address_space(store):
    """Of a small RLIMIT_AS the store takes an eighth; full, it is full like any other."""
    outcome = tried("little_address_space", store=store)

    assert outcome["reserve"] <= 3 << 20
    assert outcome["private when full"] > 100
    assert {} == outcome["wrong when full"]
    assert {} == outcome["wrong with room again"]
    assert 0 == outcome["private then"]
    assert 1 == len(outcome["lines"])


def test_store_that_cannot_be_mapped(store):
    """A process without the addresses for a store that is there counts by itself, and says so."""
    outcome = tried("store_too_large", 64 << 20, store=store)

    assert {"wrong": {}, "path": None} == {k: outcome["other"][k] for k in ("wrong", "path")}
    (line,) = outcome["other"]["lines"]
    assert "counting by itself" in line
    assert ({}, []) == (outcome["wrong"], outcome["lines"])


def test_addresses_run_out(method):
    """A store that is mapped grows under its mapping, whatever RLIMIT_AS says by then."""
    assert {"wrong": {}, "private": 0, "lines": []} == tried("addresses_run_out", method)


def test_private_label_sets_are_bounded(store):
    """Label sets from strangers don't fill the process's own memory either."""
    outcome = tried("bounded_in_private", store=store, MPMETRICS_MAX_SERIES="50")

    assert 50 == outcome["kept"]
    assert outcome["shown"] <= 51
    assert 0 == outcome["lost"]


def test_info_is_kept(store):
    """What an Info was told while there was no room is shown as soon as there is."""
    assert {
        "before": [],
        "after": ['build_info{l="a",version="2"}', 'plain_info{version="2"}'],
        "private": 0,
    } == tried("told_while_full", store=store)


def test_removed_in_private(store):
    """A kept child of a label set that was removed meanwhile is not poured in."""
    outcome = tried("removed_while_full", store=store)

    assert {"gone": None, "anew": 3, "private": 0} == outcome
