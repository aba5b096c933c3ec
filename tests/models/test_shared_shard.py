"""
Shared shard: [birth][value] with many writers, in words that another series may use later.

    add:     exchange one's own hazard word to the series' birth; load the series' birth; if it is
             still that one, add atomically; store 0 into the hazard word
    removal: exchange the series' birth to 0
    re-use:  load the hazard word of every living lease; if one names the birth in the *cell*, leave
             these words alone for now; otherwise cell birth 0, value 0, new birth; then the series

The last series that had the words isn't enough: it may have been one that doesn't use the shared
shard (2 here), with a writer of the one before still stopped between its look and its add.  Who
finds birth 0 follows a killed one that had found no hazard: nobody can add for the old any more.

Each side stores one word and loads the other's.  Only seq_cst loads after the exchanges make sure
that one of them sees the other: an acquire load may be performed before the exchange's store is
visible (C11; stlxr followed by ldapr).  They cost nothing: mov on x86-64, ldar on arm64.

Old series 1 counts in hundreds here, series 3 after it in ones.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Program,
    Steps,
    alive,
    choose,
    exchange,
    explore,
    fetch_add,
    judge,
    load_acquire,
    load_seq_cst,
    store_release,
    wait_dead,
)

pytestmark = pytest.mark.slow

WORDS = {"series": 1, "birth": 1, "value": 0, "hazard.A": 0, "hazard.B": 0, "done": 0, "last": 1}


def add(me: str, birth: int, mistake: str | None) -> Steps:
    load = load_acquire if mistake == "acquire loads after the exchanges" else load_seq_cst
    hazard = f"hazard.{me}"
    series = birth
    if mistake == "looked before the hazard":
        series = yield load("series")
    if mistake == "hazard stored plainly":
        yield store_release(hazard, birth)
    elif mistake != "no hazard":
        yield exchange(hazard, birth)
    if mistake != "looked before the hazard":
        series = yield load("series")
    if mistake == "hazard cleared before the add":
        yield store_release(hazard, 0)
    if series == birth:
        if birth == 1:
            yield fetch_add("value", 100)
        else:
            yield fetch_add("value", 1).counted("done")
    yield store_release(hazard, 0)


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "no hazard",
        "hazard stored plainly",
        "looked before the hazard",
        "acquire loads after the exchanges",
        "hazard cleared before the add",
        "removed by a plain store",
        "hazards compared with the last series",
    ],
)
def test_shared_shard(mistake: str | None) -> None:
    """An add for the old series never lands in the new one, and none for the new one is lost."""

    def writer(me: str) -> Program:
        def run() -> Steps:
            yield from add(me, 1, mistake)
            birth = yield load_acquire("series")
            if birth == 3:
                yield from add(me, 3, mistake)

        return run

    def remove() -> Steps:
        if mistake == "removed by a plain store":
            yield store_release("series", 0)
        else:
            yield exchange("series", 0)

    def reuse() -> Steps:
        load = load_acquire if mistake == "acquire loads after the exchanges" else load_seq_cst
        old = yield load_acquire("birth")
        if mistake == "hazards compared with the last series":
            old = yield load_acquire("last")
        for lease in ("A", "B"):
            named = yield load(f"hazard.{lease}")
            if named and named == old:
                living = yield alive(lease)
                if living:
                    return  # pass these words over
        yield store_release("birth", 0)
        yield store_release("value", 0)
        yield store_release("birth", 3)
        yield store_release("series", 3)

    def remover() -> Steps:
        yield from remove()
        between = yield choose(2)
        if between:
            yield store_release("last", 2)
            yield store_release("series", 2)
            yield from remove()
        yield from reuse()

    def heir() -> Steps:
        """Has the lock after the remover's death, repeats what was not done."""
        yield wait_dead("remover")
        series = yield load_acquire("series")
        if series != 3:
            yield from remove()
            yield from reuse()

    def final(words: dict[str, int]) -> None:
        if words["series"] == 3:
            assert words["value"] == words["done"], f"{words['value']} in the new series"

    processes = {"A": writer("A"), "B": writer("B"), "remover": remover, "heir": heir}
    judge(explore(WORDS, processes, kills=2, killable=("A", "remover"), final=final), mistake)
