"""
Removal without the lock: a series goes at once, and whoever has the lock next tidies up.

    remove:    name the birth in one's shard's hazard word; compare-and-swap the birth from the
               series' own to 0, the commit; untidy = 1; hazard = 0
    acquire:   the lock; if the last owner died or it is untidy: untidy = 0, chain what isn't live
    reuse:     with the lock: unchain a free record, store a new birth
    take over: the shard of a remover that is dead: if its hazard names one, untidy = 1; hazard = 0

Here one record is removed without the lock, and perhaps with it, while it may be used again.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Steps,
    alive,
    cas,
    exchange,
    explore,
    judge,
    load_acquire,
    store_release,
    wait_dead,
)

OLD, NEW = 1, 2  # births
WORDS = {"birth": OLD, "chained": 0, "untidy": 0, "hazard": 0, "lock": 1, "made": 0}


def remove(mistake: str | None) -> Steps:
    """By who has been told by labels() that the series' birth is OLD."""
    if mistake != "not named":
        yield store_release("hazard", OLD)
    if mistake == "whatever the birth":
        yield store_release("birth", 0)
    else:
        yield cas("birth", OLD, 0)
    if mistake != "not announced":
        yield store_release("untidy", 1)
    yield store_release("hazard", 0)


def take_over(mistake: str | None) -> Steps:
    yield wait_dead("remover")
    hazard = yield load_acquire("hazard")
    if mistake == "cleared first":
        yield store_release("hazard", 0)
    if hazard and mistake != "taken over blindly":
        yield store_release("untidy", 1)
    yield store_release("hazard", 0)


def tidy(died: bool, mistake: str | None) -> Steps:
    untidy = yield load_acquire("untidy")
    if not died and not untidy:
        return
    if mistake != "tidied first, and then noted":
        yield exchange("untidy", 0)
    birth = yield load_acquire("birth")
    yield store_release("chained", 0 if birth else 1)
    if mistake == "tidied first, and then noted":
        yield exchange("untidy", 0)


def reuse() -> Steps:
    chained = yield load_acquire("chained")
    if chained:
        yield store_release("chained", 0)
        yield store_release("birth", NEW).counted("made")


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "not named",
        "not announced",
        "taken over blindly",
        "cleared first",
        "whatever the birth",
        "tidied first, and then noted",
    ],
)
def test_removal(mistake: str | None) -> None:
    """No record is lost, and none is used twice, whoever is killed or stopped."""

    def owner() -> Steps:
        """Has the lock, and removes the same series by the way that has it."""
        birth = yield load_acquire("birth")
        if birth == OLD:
            yield exchange("birth", 0)
            yield store_release("chained", 1)
        yield store_release("lock", 0)

    def remover() -> Steps:
        yield from remove(mistake)

    def successor() -> Steps:
        while True:
            lock = yield load_acquire("lock")
            living = yield alive("owner")
            if lock != 0 and living:
                continue
            won = yield cas("lock", lock, 2)
            if won:
                break
        yield from tidy(lock != 0, mistake)
        yield from reuse()
        yield store_release("lock", 0)

    def final(words: dict[str, int]) -> None:
        assert words["made"] <= 1, "used twice"
        if words["made"] and words["lock"] == 0:
            assert words["birth"] == NEW, "the series that was made is gone"
        elif words["birth"] == 0 and words["lock"] == 0:
            assert words["chained"] or words["untidy"] or words["hazard"], "the record is lost"

    def heir() -> Steps:
        yield from take_over(mistake)

    processes = {"owner": owner, "remover": remover, "successor": successor, "heir": heir}
    judge(explore(WORDS, processes, kills=2, final=final), mistake)
