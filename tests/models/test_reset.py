"""
Reset of a counter: a base that only moves up, in the shared shard, which readers subtract.

    reset:    with the lock: load the base, add up the shards, store the sum as the base, the commit
    scrape:   load the base, then add up the shards; show the sum less the base
    add:      as a counter's: the shard's owner alone stores

What others add while one resets is counted before the reset or after it, never lost and never
taken away twice.
"""

from __future__ import annotations

import pytest

from .explorer import Steps, cas, explore, judge, load_acquire, snapshot, store_release

WORDS = {"a": 0, "b": 0, "base": 0, "lock": 0, "committed": 0}


def add(shard: str) -> Steps:
    value = yield load_acquire(shard)
    yield store_release(shard, value + 1).counted("committed")


def total() -> Steps:
    a = yield load_acquire("a")
    b = yield load_acquire("b")
    return a + b


def reset(me: int, mistake: str | None) -> Steps:
    if mistake != "no lock":
        won = yield cas("lock", 0, me)
        if not won:
            return
    base = yield load_acquire("base")
    shown = yield from total()
    if mistake == "what was shown, not added":
        yield store_release("base", shown - base)
    else:
        yield store_release("base", shown)
    yield store_release("lock", 0)


def scrape(mistake: str | None) -> Steps:
    if mistake == "base after the shards":
        value = yield from total()
        base = yield load_acquire("base")
    else:
        base = yield load_acquire("base")
        value = yield from total()
    return value - base


@pytest.mark.parametrize(
    "mistake", [None, "base after the shards", "what was shown, not added", "no lock"]
)
def test_reset(mistake: str | None) -> None:
    """A counter that is reset is never shown below zero, nor above what was added since."""

    def first() -> Steps:
        yield from add("a")

    def second() -> Steps:
        yield from add("b")
        yield from reset(2, mistake)

    def third() -> Steps:
        yield from reset(3, mistake)
        (before,) = yield snapshot("base")
        yield from reset(3, mistake)
        (after,) = yield snapshot("base")
        assert before <= after, "the base went back"

    def reader() -> Steps:
        (base,) = yield snapshot("base")
        shown = yield from scrape(mistake)
        assert shown >= 0, f"{shown} is shown"
        (committed,) = yield snapshot("committed")
        assert shown <= committed - base, "more than was added since the last reset"

    def final(words: dict[str, int]) -> None:
        assert 0 <= words["base"] <= words["committed"], "more was taken away than was added"

    processes = {"first": first, "second": second, "third": third, "reader": reader}
    judge(explore(WORDS, processes, kills=1, final=final), mistake)
