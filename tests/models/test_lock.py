"""
Lock: one word that holds the owner's lease; 0: free.

    acquire: load the word.  0: compare-and-swap to one's own number.  A living lease's: wait.
             A dead one's: compare-and-swap from it to one's own, repair, go on.  One's own, though
             one isn't inside: like a dead one's.  One's own while inside: busy
    release: store 0

"Inside" is a flag of the process, and its number is its own: both are made anew after a fork,
which is looked at first.  Numbers are never used twice, so the compare-and-swap can't be fooled.
Any byte pattern heals: a number that nobody holds is dead.
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
    snapshot,
    store_release,
)

pytestmark = pytest.mark.slow

PROCESSES = {1: "parent", 2: "other", 4: "child"}  # by lease
DEAD = 9


def is_alive(lease: int) -> Steps:
    if lease not in PROCESSES:
        return False
    living = yield alive(PROCESSES[lease])
    return living


def acquire(me: int, inside: bool, mistake: str | None) -> Steps:
    """Gives whether the last owner died in it; None: busy, since this process is inside."""
    while True:
        owner = yield load_acquire("owner")
        if owner == me and mistake != "own number never taken":
            if inside:
                return None
        elif owner != 0:
            living = yield from is_alive(owner)
            if living and mistake != "taken from the living":
                continue
        if mistake == "dead one's place stored plainly" and owner != 0:
            yield exchange("owner", me)
            return True
        won = yield cas("owner", owner, me)
        if won:
            return owner != 0


def work(me: int, inside: bool, mistake: str | None, nested: bool = False) -> Steps:
    died = yield from acquire(me, inside, mistake)
    while died is None:
        died = yield from acquire(me, inside, mistake)
    (within,) = yield snapshot("within")
    living = yield from is_alive(within)
    assert not living, f"{me} entered while {within} was inside"
    assert died or within == 0, "half done, but nobody repairs it"
    yield store_release("within", me)
    if nested:  # a destructor that counts, say
        again = yield from acquire(me, mistake != "own number taken while inside", mistake)
        assert again is None, "entered twice"
    (within,) = yield snapshot("within")
    if mistake == "released before the last store":
        yield store_release("owner", 0)
    yield store_release("within", 0)
    if mistake != "released before the last store":
        yield store_release("owner", 0)


@pytest.mark.parametrize(
    ("mistake", "owner"),
    [
        (None, 0),
        (None, 2),  # damaged: a living process that isn't inside
        (None, 4),
        (None, DEAD),
        ("dead one's place stored plainly", DEAD),
        ("taken from the living", 0),
        ("own number taken while inside", 0),
        ("own number never taken", 4),
        ("child keeps its parent's number", 0),
        ("child keeps its parent's flag", 4),
        ("released before the last store", 0),
    ],
)
def test_lock(mistake: str | None, owner: int) -> None:
    """One living process is inside at a time, half-done work is repaired, nobody waits for ever."""

    def parent() -> Steps:
        yield from work(1, False, mistake, nested=True)

    def other() -> Steps:
        yield from work(2, False, mistake)

    def child() -> Steps:
        me = 1 if mistake == "child keeps its parent's number" else 4
        yield from work(me, mistake == "child keeps its parent's flag", mistake)

    words = {"owner": owner, "within": 0}
    processes = {"parent": parent, "other": other, "child": child}
    judge(explore(words, processes, kills=2, ends=True), mistake)
