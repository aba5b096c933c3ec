"""
Flip cell: [n][slot 0][slot 1], here with a slot of two words, count and sum.

    update:   load n and slot n&1; store slot (n+1)&1, word by word; store n+1: the commit
    scrape:   load n, slot n&1, n again; retry if n moved
    takeover: nothing to do

All stores are release stores, those of the scratch slot too.  A release store orders what is
before it and not what follows: stored relaxed, the scratch of update n+2, which goes into the slot
that readers of n are reading, would become visible before n+1 does.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Steps,
    explore,
    judge,
    load_acquire,
    snapshot,
    store_relaxed,
    store_release,
    wait_dead,
)

WORDS = {"n": 0, "count0": 0, "sum0": 0, "count1": 0, "sum1": 0}


def observe_one(mistake: str | None) -> Steps:
    store = store_relaxed if mistake == "scratch slot relaxed" else store_release
    n = yield load_acquire("n")
    count = yield load_acquire(f"count{n & 1}")
    total = yield load_acquire(f"sum{n & 1}")
    if mistake == "n before the slot":
        yield store_release("n", n + 1)
    to = n & 1 if mistake == "the live slot written" else (n + 1) & 1
    yield store(f"count{to}", count + 1)
    yield store(f"sum{to}", total + 1)
    if mistake != "n before the slot":
        yield store_release("n", n + 1)


def read(mistake: str | None) -> Steps:
    slot0 = slot1 = (0, 0)
    while True:
        if mistake == "slots read before n":
            count0 = yield load_acquire("count0")
            sum0 = yield load_acquire("sum0")
            count1 = yield load_acquire("count1")
            sum1 = yield load_acquire("sum1")
            slot0, slot1 = (count0, sum0), (count1, sum1)
            n = yield load_acquire("n")
            return slot1 if n & 1 else slot0
        n = yield load_acquire("n")
        count = yield load_acquire(f"count{n & 1}")
        total = yield load_acquire(f"sum{n & 1}")
        if mistake == "n read once":
            return count, total
        again = yield load_acquire("n")
        if again == n:
            return count, total


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "n before the slot",
        "the live slot written",
        "scratch slot relaxed",
        "n read once",
        "slots read before n",
    ],
)
def test_flip_cell(mistake: str | None) -> None:
    """Count and sum are of one instant, between the scrape's start and its end."""

    def first() -> Steps:
        for _ in range(3):
            yield from observe_one(mistake)

    def successor() -> Steps:
        yield wait_dead("first")
        yield from observe_one(mistake)

    def reader() -> Steps:
        (before,) = yield snapshot("n")
        count, total = yield from read(mistake)
        assert count == total, f"torn: count {count}, sum {total}"
        (after,) = yield snapshot("n")
        assert before <= count <= after, f"{count} read between {before} and {after}"

    def final(words: dict[str, int]) -> None:
        n = words["n"]
        assert words[f"count{n & 1}"] == words[f"sum{n & 1}"] == n, words

    processes = {"first": first, "successor": successor, "reader": reader}
    writers = ("first", "successor")
    judge(explore(WORDS, processes, kills=2, killable=writers, final=final), mistake)
