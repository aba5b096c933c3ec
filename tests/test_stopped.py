"""A process that was stopped while it had the store's lock: nobody waits, nothing is forgotten."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_removed_without_the_lock(method):
    """remove, remove_by_labels and clear take effect everywhere at once, and labels() goes on."""

    def series(*sets: str) -> list[str]:
        return [f'c_total{{what="{what}",who="{who}"}}' for what, who in sets]

    assert [
        series("1y", "1z", "2x", "2y", "2z"),
        series("1y", "1z"),
        [],
        [f"{name} 5.0" for name in series("1x")],
    ] == run("tests.plays.stopped:removal", method)


def test_info_is_shown_once_it_can_be(method):
    """What `info` couldn't say is said before the next scrape that can, the newest alone."""
    outcome = run("tests.plays.stopped:infos", method)

    assert {
        "during": ['i_info{v="1"}', 'l_info{v="1",who="x"}'],
        "private": 3,
        "after": ['i_info{v="3"}', 'l_info{v="2",who="x"}', 'l_info{v="2",who="y"}'],
        "at last": 0,
        "broken": None,
    } == outcome


def test_info_of_a_parent_is_not_its_childs():
    """A child forked before its parent could say something doesn't say it again, later."""
    assert ['i_info{v="3"}'] == run("tests.plays.stopped:forked_meanwhile")


def test_kept_children_of_what_was_removed(method):
    """A child kept of a series that was removed without the lock counts for nobody."""
    assert run("tests.plays.stopped:kept", method)


def test_ended_before_it_could_be_shared(method):
    """What a process counted by itself while the lock was taken is shared when it ends."""
    assert {'c_total{what="1",who="x"}': 2.0} == run("tests.plays.stopped:ended", method)


def test_program_ended_before_it_could_be_shared(store):
    """So it is by a program that leaves a named store."""
    expected = {'c_total{what="1",who="x"}': 2.0}

    assert expected == run("tests.plays.stopped:ended_by_itself", store=store)
