"""Private metrics of a child whose parent, who declared them, is dead before it counts."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def page(times: float) -> list[str]:
    return [
        f"plain_total {times}",
        f'labelled_total{{a="kept"}} {times}',
        f'labelled_total{{a="looked up"}} {times}',
        f"gauge {times}",
        "peak 2.0",
        f'seconds_bucket{{le="1.0"}} {times}',
        f'seconds_bucket{{le="+Inf"}} {times}',
        f"seconds_count {times}",
        f"seconds_sum {times / 2}",
        'about_info{version="2"} 1.0',
        'state{state="a"} 0.0',
        'state{state="b"} 1.0',
    ]


def test_goes_on():
    """A forked child holds what its parent declared: its first update doesn't sweep that away."""
    assert page(2.0) == run("tests.plays.orphans:counted", "never")


def test_swept_meanwhile():
    """What another process swept before the child counted is declared anew; kept children count."""
    assert page(1.0) == run("tests.plays.orphans:counted", "before")


def test_swept_and_locked():
    """While the lock can't be had it counts privately; the next scrape that can shows all."""
    shown = run("tests.plays.orphans:counted", "before", True)

    assert sorted(page(1.0)) == sorted(shown)  # what is shared later comes in any order


def test_swept_while_it_waits():
    """Swept by a process that starts while the child waits for the lock, nothing is lost either.

    (Whether the parent's part is still there depends on which of the two is first.)"""
    shown = run("tests.plays.orphans:counted", "meanwhile")

    assert sorted(shown) in (sorted(page(1.0)), sorted(page(2.0)))
