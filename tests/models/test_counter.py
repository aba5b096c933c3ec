"""
Counter: one word a shard, written by the shard's owner.

    add v:        value = load; store value + v        the store is the commit
    takeover:     wait until the owner is dead, then go on in the same cell as it is
    scrape:       load the value of every shard and add up
"""

from __future__ import annotations

import pytest

from .explorer import Steps, explore, judge, load_acquire, snapshot, store_release, wait_dead

WORDS = {"a": 0, "a.high": 0, "b": 0, "committed": 0}


def add(cell: str, mistake: str | None) -> Steps:
    if mistake != "value in two halves":
        value = yield load_acquire(cell)
        yield store_release(cell, value + 1).counted("committed")
        return
    # A word of one bit and its carry: as a double without 64-bit stores.
    low = yield load_acquire(cell)
    high = yield load_acquire(cell + ".high")
    yield store_release(cell, (low + 1) % 2).counted("committed")
    yield store_release(cell + ".high", high + (low + 1) // 2)


@pytest.mark.parametrize(
    "mistake",
    [None, "value in two halves", "takeover zeroes first", "takeover before the death"],
)
def test_counter(mistake: str | None) -> None:
    """A counter's sum never goes back and is what was committed, over kills and a takeover."""

    def first() -> Steps:
        yield from add("a", mistake)
        yield from add("a", mistake)

    def successor() -> Steps:
        if mistake != "takeover before the death":
            yield wait_dead("first")
        if mistake == "takeover zeroes first":
            value = yield load_acquire("a")
            yield store_release("a", 0)
            yield store_release("a", value)
        yield from add("a", mistake)

    def neighbour() -> Steps:
        yield store_release("b", 1).counted("committed")

    def total() -> Steps:
        a = yield load_acquire("a")
        high = yield load_acquire("a.high")
        b = yield load_acquire("b")
        return a + 2 * high + b

    def reader() -> Steps:
        before = yield snapshot("a", "a.high", "b")
        one = yield from total()
        two = yield from total()
        assert before[0] + 2 * before[1] + before[2] <= one <= two, f"went back: {one}, {two}"
        (committed,) = yield snapshot("committed")
        assert two <= committed, f"{two} read, {committed} committed"

    def final(words: dict[str, int]) -> None:
        value = words["a"] + 2 * words["a.high"] + words["b"]
        assert value == words["committed"], f"{value} counted, {words['committed']} committed"

    processes = {
        "first": first, "successor": successor, "neighbour": neighbour, "reader": reader,
    }  # fmt: skip
    writers = ("first", "successor", "neighbour")
    judge(explore(WORDS, processes, kills=2, killable=writers, final=final), mistake)
