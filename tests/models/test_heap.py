"""
Allocation under the lock: one size class with a free list, and the untouched space above `top`.

    take i:  b = head, or top if the list is empty; name it: store take i's where, then its block;
             pop: head = next(b), or top = b + 1; zero the block.  When all are taken, link each:
             *where = b; only after that, clear the takes
    give:    name it: store give's where, then its block; *where = 0; next(b) = head; head = b;
             clear the give before anything else begins
    repair:  the takes, latest first: linked (*where == b), or not popped (head or top == b)?
             nothing to do; else push it; clear.  Then the give: pushed (head == b)? nothing to do;
             else *where = 0, push it; clear

Repair is done by whoever gets the lock of a dead owner, and may be killed and done again.  `where`
must be a word of something that is linked itself: a block that is named as linked from a block
that is not would be lost with it.  So a block within a block is linked after the outer one.  And
that word must have been zeroed: a free block's first word names the next one, which is the block
that the next take gets, so that it would look linked.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Program,
    Steps,
    choose,
    explore,
    judge,
    load_acquire,
    snapshot,
    store_release,
    wait_dead,
)

BLOCKS = (1, 2, 3)
LINKS = ("link.a", "link.b")
PLACES = (*LINKS, "next1", "next2", "next3")  # where a block may be linked
WORDS = {
    **dict.fromkeys(("head", "top", *PLACES), 0),
    **dict.fromkeys(("take0", "take0.where", "take1", "take1.where", "give", "give.where"), 0),
}
LIST_OF_TWO = WORDS | {"head": 1, "next1": 2, "top": 3}
UNTOUCHED = WORDS | {"top": 1}


def take(i: int, where: str, mistake: str | None) -> Steps:
    head, top = yield snapshot("head", "top")
    block = head or top
    if block not in BLOCKS:
        return 0
    (after,) = yield snapshot(f"next{block}")
    pop = store_release("head", after) if head else store_release("top", block + 1)
    if mistake == "named after the pop":
        yield pop
    if mistake != "not named":
        yield store_release(f"take{i}.where", PLACES.index(where))
        yield store_release(f"take{i}", block)
    if mistake != "named after the pop":
        yield pop
    if mistake != "block not zeroed":
        yield store_release(f"next{block}", 0)
    return block


def give(where: str, mistake: str | None) -> Steps:
    (block,) = yield snapshot(where)
    if not block:
        return
    if mistake == "block named before where":
        yield store_release("give", block)
    yield store_release("give.where", PLACES.index(where))
    yield store_release("give", block)
    if mistake != "link kept by the give":
        yield store_release(where, 0)
    yield from push(block)
    if mistake != "give cleared late":
        yield store_release("give", 0)


def push(block: int) -> Steps:
    head = yield load_acquire("head")
    yield store_release(f"next{block}", head)
    yield store_release("head", block)


def clear(*names: str) -> Steps:
    for name in names:
        yield store_release(name, 0)


def take_two(nested: bool, mistake: str | None) -> Steps:
    (used,) = yield snapshot("link.a")
    if used:
        return
    outer = yield from take(0, "link.a", mistake)
    where = f"next{outer}" if nested else "link.b"
    second = 0
    if outer:
        (used,) = yield snapshot(where)
        if not used:
            second = yield from take(1, where, mistake)
    if second and mistake == "linked inside out":
        yield store_release(where, second)
    if outer:
        yield store_release("link.a", outer)
    if second:
        yield store_release(where, second)
    if mistake != "takes cleared late":
        yield from clear("take0", "take1")


def repair(mistake: str | None) -> Steps:
    for i in (0, 1) if mistake == "first take repaired first" else (1, 0):
        block, place = yield snapshot(f"take{i}", f"take{i}.where")
        if block:
            linked, head, top = yield snapshot(PLACES[place], "head", "top")
            if block not in (linked, head, top):
                yield from push(block)
            yield store_release(f"take{i}", 0)
    block, place, head = yield snapshot("give", "give.where", "head")
    if block:
        if head != block:
            yield store_release(PLACES[place], 0)
            yield from push(block)
        yield store_release("give", 0)


def check(words: dict[str, int]) -> None:
    """Each block is in exactly one place."""
    places = [block for block in BLOCKS if block >= words["top"]]
    block = words["head"]
    while block:
        assert len(places) < len(BLOCKS), "a ring, or a block in two places"
        places.append(block)
        block = words[f"next{block}"]
    linked = [words[link] for link in LINKS if words[link]]
    linked += [words[f"next{block}"] for block in linked if words[f"next{block}"]]
    assert sorted(places + linked) == list(BLOCKS), f"free {places}, linked {linked}"


def operate(nested: bool, mistake: str | None) -> Steps:
    what = yield choose(2)
    if what == 0:
        yield from take_two(nested, mistake)
        if mistake == "give cleared late":
            yield from clear("give")
    else:
        (outer,) = yield snapshot("link.a")
        if nested and outer:
            yield from give(f"next{outer}", mistake)
        yield from give("link.a", mistake)
        if not nested:
            yield from give("link.b", mistake)
        if mistake == "takes cleared late":
            yield from clear("take0", "take1")


@pytest.mark.parametrize("words", [UNTOUCHED, LIST_OF_TWO], ids=["untouched", "list of two"])
@pytest.mark.parametrize(
    ("mistake", "nested"),
    [
        (None, False),
        (None, True),
        ("not named", False),
        ("named after the pop", False),
        ("first take repaired first", False),
        ("takes cleared late", False),
        ("give cleared late", False),
        ("link kept by the give", False),
        ("block named before where", False),
        ("linked inside out", True),
        ("block not zeroed", True),
    ],
)
def test_heap(mistake: str | None, nested: bool, words: dict[str, int]) -> None:
    """After a repair each block is free, linked or untouched, whoever was killed where before."""

    def worker() -> Steps:
        for _ in range(3):
            yield from operate(nested, mistake)

    def heir(owners: tuple[str, ...]) -> Program:
        def run() -> Steps:
            for owner in owners:
                yield wait_dead(owner)
            yield from repair(mistake)
            found = yield snapshot(*words)
            check(dict(zip(words, found, strict=True)))
            yield from operate(nested, mistake)

        return run

    processes = {
        "worker": worker,
        "heir": heir(("worker",)),
        "second heir": heir(("worker", "heir")),
        "last": heir(("worker", "heir", "second heir")),
    }
    killable = ("worker", "heir", "second heir")
    judge(explore(words, processes, kills=3, killable=killable, sc=True), mistake)
