"""
Taking a cell up: [birth][value] in a shard, words that several series use one after the other.

    write:    a child writes to its cell for its series' birth, without looking at the series again
    take up:  at the owner's first write for a series: if the cell has that birth already (a dead
              owner's) leave it; if the *series* has another birth, write to scratch; otherwise
              store birth 0, zero the words, store the birth.  The child that the process had for
              these words goes to scratch first
    removal:  series' birth = 0, one store; its words may be used again at once
    scrape:   load the series' birth, the cell's birth, the words, the series' birth again; another
              birth in the cell counts as zero, another one in the series drops what was read

The series' birth must be looked at after the shard is one's own: a kept child that writes for the
first time would otherwise wipe out what a dead owner of the shard counted for the next series.

Old series 1 counts in hundreds here, its successor 2 in ones.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Program,
    Result,
    Steps,
    explore,
    judge,
    load_acquire,
    snapshot,
    store_release,
    wait_dead,
)

pytestmark = pytest.mark.slow

WORDS = {"series": 1, "birth": 0, "value": 0, "done": 0}
UNIT = {1: 100, 2: 1}


def take_up(birth: int, mistake: str | None) -> Steps:
    """Gives True if the child may write to the cell."""
    has = 0
    if mistake != "a dead owner's cell zeroed":
        has = yield load_acquire("birth")
    if has == birth or mistake == "no birth numbers":
        return True
    if mistake != "kept child doesn't look":
        series = yield load_acquire("series")
        if series != birth:
            return False
    if mistake == "birth before zeroing":
        yield store_release("birth", birth)
    elif mistake != "no birth 0 first":
        yield store_release("birth", 0)
    yield store_release("value", 0)
    yield store_release("birth", birth)
    return True


def add(birth: int) -> Steps:
    value = yield load_acquire("value")
    store = store_release("value", value + UNIT[birth])
    yield store.counted("done") if birth == 2 else store


def look_up_and_add(mistake: str | None) -> Steps:
    birth = yield load_acquire("series")
    if birth:
        mine = yield from take_up(birth, mistake)
        if mine:
            yield from add(birth)


def processes(mistake: str | None) -> dict[str, Program]:
    def owner() -> Steps:
        """Keeps its child of series 1, looks series 2 up later."""
        mine = yield from take_up(1, mistake)
        if mine:
            yield from add(1)
        birth = yield load_acquire("series")
        if birth == 2:
            mine = yield from take_up(birth, mistake)
            if mine:
                yield from add(birth)
        if birth != 2 or mistake == "old child keeps the cell":
            yield from add(1)

    def heir() -> Steps:
        """Has a child from before it had a shard."""
        kept = yield load_acquire("series")
        yield wait_dead("owner")
        if kept:
            mine = yield from take_up(kept, mistake)
            if mine:
                yield from add(kept)
        yield from look_up_and_add(mistake)

    def last() -> Steps:
        yield wait_dead("owner")
        yield wait_dead("heir")
        yield from look_up_and_add(mistake)

    def remover() -> Steps:
        yield store_release("series", 0)
        yield store_release("series", 2)

    def reader() -> Steps:
        birth = yield load_acquire("series")
        before = yield snapshot("birth", "value")
        has = 0
        if mistake != "cell's birth read last":
            has = yield load_acquire("birth")
        value = yield load_acquire("value")
        if mistake == "cell's birth read last":
            has = yield load_acquire("birth")
        if has != birth and mistake != "no birth numbers":
            value = 0
        again = birth
        if mistake != "series' birth read once":
            again = yield load_acquire("series")
        if birth and again == birth:
            own = value % 100 == 0 if birth == 1 else value < 100
            assert own, f"{value} shown for series {birth}"
            assert before[0] != birth or before[1] <= value, f"series {birth} went back"

    return {"owner": owner, "heir": heir, "last": last, "remover": remover, "reader": reader}


def final(words: dict[str, int]) -> None:
    """What was added for series 2 is there."""
    counted = words["value"] if words["birth"] == 2 else 0
    assert counted == words["done"], f"{words['done']} done, {counted} counted"


def search(mistake: str | None) -> Result:
    killable = ("owner", "heir")
    return explore(WORDS, processes(mistake), kills=2, killable=killable, final=final)


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "kept child doesn't look",
        "birth before zeroing",
        "a dead owner's cell zeroed",
        "old child keeps the cell",
        "series' birth read once",
        "cell's birth read last",
        "no birth numbers",
    ],
)
def test_taking_up(mistake: str | None) -> None:
    """No number of a removed series is shown for the next one, and none of the next is lost."""
    judge(search(mistake), mistake)


def test_birth_0_first_is_a_second_belt() -> None:
    """Zeroing without birth 0 first is safe too, as long as scrapes load the series' birth last."""
    judge(search("no birth 0 first"), None)
