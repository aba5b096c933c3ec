"""
Series: records (birth, first birth, slot, text), the family's index entry[slot] -> record, blocks.

    live:     a record is, if its birth isn't 0 and entry[its slot] is the record; all else is
              derived from that
    create:   a free record; its text block, taken as in test_heap with `where` in the record; slot,
              first birth, the next birth, birth; then entry[slot] = record: the commit
    remove:   birth = 0: the commit; entry[slot] = 0; give the text back
    replace:  (Info) create with the old one's slot and first birth; then as in remove for the old
    repair:   takes and gives as in test_heap; then of each record that isn't live: birth = 0, its
              entry, if it is its, = 0, give the text back
    scrape:   start = the next birth.  Of each slot once: entry, birth, first birth, text, entry
              again, birth again.  Birth 0, or birth or entry changed: begin the slot again, a
              bounded number of times.  First birth not before start: skip.  Then its numbers, and
              birth again: changed, they are another's, and it is left out.  Not so an Info, which
              is all text: it may have been replaced, by one that the scrape would not come back for

The entry must be loaded again: a record that was in this slot may since have replaced an Info in
another one, whose first birth is old, and would be shown twice; or it may have been made for the
next version of this one and not yet be committed.  Comparing the record's slot helps against the
former only.

A text is 100 * birth + label set; a free block's word is the next one.  Writers and repair hold
the lock, so stores are sequentially consistent here and what only they use is read at one go.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Program,
    Result,
    Steps,
    choose,
    explore,
    judge,
    load_acquire,
    snapshot,
    store_release,
    wait_dead,
)

pytestmark = pytest.mark.slow

RECORDS = (1, 2, 3)
SLOTS = (0, 1, 2)
BLOCKS = (1, 2, 3)
X, INFO = 1, 2  # label sets; INFO is one in every version
ATTEMPTS = 4  # one more than the operations, which may each change the slot
WORDS = {
    "next_birth": 3,
    "entry0": 1,
    "entry1": 2,
    "entry2": 0,
    "birth1": 1,
    "first1": 1,
    "slot1": 0,
    "text1": 1,
    "birth2": 2,
    "first2": 2,
    "slot2": 1,
    "text2": 2,
    "birth3": 0,
    "first3": 0,
    "slot3": 0,
    "text3": 0,
    "block1": 100 + X,
    "block2": 200 + INFO,
    "block3": 0,
    "head": 3,
    "committed1": 1,
    "committed2": 1,
    "committed3": 0,
    "committed4": 0,  # births
    "committed5": 0,
    "take": 0,
    "take.record": 0,
    "give": 0,
    "give.record": 0,
}


def is_live(words: dict[str, int], record: int) -> bool:
    return words[f"birth{record}"] != 0 and words[f"entry{words[f'slot{record}']}"] == record


def find(words: dict[str, int], label: int) -> int:
    """The live record of a label set, or 0."""
    for record in RECORDS:
        if is_live(words, record) and words[f"block{words[f'text{record}']}"] % 100 == label:
            return record
    return 0


def plan(label: int, words: tuple[int, ...]) -> tuple[int, ...]:
    """The label set's old record or 0, a free record, its slot, first birth and birth."""
    at = dict(zip(WORDS, words, strict=True))
    old = find(at, label)
    slot = (
        at[f"slot{old}"]
        if old
        else max(s for s in SLOTS if not at[f"entry{s}"] or not is_live(at, at[f"entry{s}"]))
    )
    record = next((r for r in RECORDS if not at[f"birth{r}"] and not at[f"text{r}"]), 0)
    first = at[f"first{old}"] if old else at["next_birth"]
    return old, record, slot, first, at["next_birth"]


def create(label: int, mistake: str | None) -> Steps:
    words = yield snapshot(*WORDS)
    old, record, slot, first, birth = plan(label, words)
    del words
    (block,) = yield snapshot("head")
    commit = store_release(f"entry{slot}", record)
    if f"committed{birth}" in WORDS:
        commit = commit.counted(f"committed{birth}")
    if mistake == "entry before the record":
        yield commit
    yield store_release("take.record", record)
    yield store_release("take", block)
    after = yield load_acquire(f"block{block}")
    yield store_release("head", after)
    yield store_release(f"block{block}", 100 * birth + label)
    yield store_release(f"text{record}", block)
    yield store_release("take", 0)
    yield store_release(f"slot{record}", slot)
    yield store_release(f"first{record}", first)
    if mistake != "birth counted last":
        yield store_release("next_birth", birth + 1)
    yield store_release(f"birth{record}", birth)
    if mistake == "old birth cleared first" and old:
        yield store_release(f"birth{old}", 0)
    if mistake != "entry before the record":
        yield commit
    if mistake == "birth counted last":
        yield store_release("next_birth", birth + 1)
    if old:
        yield from end(old, mistake)


def remove(record: int, slot: int, mistake: str | None) -> Steps:
    if mistake == "text given back first":
        yield from give(record)
    yield store_release(f"birth{record}", 0)
    if mistake != "removal leaves the entry":
        yield store_release(f"entry{slot}", 0)
    yield from give(record)


def end(record: int, mistake: str | None) -> Steps:
    """Of a record that was replaced."""
    if mistake == "text given back first":
        yield from give(record)
    yield store_release(f"birth{record}", 0)
    yield from give(record)


def give(record: int) -> Steps:
    (block,) = yield snapshot(f"text{record}")
    if block:
        yield store_release("give.record", record)
        yield store_release("give", block)
        yield store_release(f"text{record}", 0)
        yield from push(block)
        yield store_release("give", 0)


def push(block: int) -> Steps:
    (head,) = yield snapshot("head")
    yield store_release(f"block{block}", head)
    yield store_release("head", block)


def repair(mistake: str | None) -> Steps:
    block, record, head = yield snapshot("take", "take.record", "head")
    if block:
        (text,) = yield snapshot(f"text{record}")
        if block not in (text, head):
            yield from push(block)
        yield store_release("take", 0)
    block, record, head = yield snapshot("give", "give.record", "head")
    if block:
        if block != head:
            yield store_release(f"text{record}", 0)
            yield from push(block)
        yield store_release("give", 0)
    for record in RECORDS:
        birth, slot = yield snapshot(f"birth{record}", f"slot{record}")
        (entry,) = yield snapshot(f"entry{slot}")
        if birth and entry == record:
            continue
        if birth:
            yield store_release(f"birth{record}", 0)
        if entry == record and "leaves the entry" not in str(mistake):
            yield store_release(f"entry{slot}", 0)
        if mistake != "repair keeps the texts":
            yield from give(record)


def operate(mistake: str | None) -> Steps:
    """Replace the Info, or remove x or make it again, in the last free slot."""
    what = yield choose(2)
    if what == 0:
        yield from create(INFO, mistake)
    else:
        words = yield snapshot(*WORDS)
        record = find(dict(zip(WORDS, words, strict=True)), X)
        slot = words[list(WORDS).index(f"slot{record}")] if record else 0
        del words
        if record:
            yield from remove(record, slot, mistake)
        else:
            yield from create(X, mistake)


def show(slot: int, start: int, mistake: str | None) -> Steps:
    """What a scrape shows for one slot: a label set or 0."""
    for _ in range(ATTEMPTS):
        record = yield load_acquire(f"entry{slot}")
        if record == 0:
            return 0
        birth = yield load_acquire(f"birth{record}")
        if birth == 0:
            continue
        first = yield load_acquire(f"first{record}")
        if mistake == "skipped at once" and first >= start:
            return 0
        if mistake == "slot compared instead":
            its_slot = yield load_acquire(f"slot{record}")
            if its_slot != slot:
                continue
        block = yield load_acquire(f"text{record}")
        text = 0
        if block:
            text = yield load_acquire(f"block{block}")
        if mistake not in ("entry not loaded again", "slot compared instead"):
            again = yield load_acquire(f"entry{slot}")
            if again != record:
                continue
        again = yield load_acquire(f"birth{record}")
        if again != birth:
            if mistake == "tried once":
                return 0
            continue
        born = birth if mistake == "no first birth" else first
        if born >= start and mistake != "nothing skipped":
            return 0
        assert text // 100 == birth, f"birth {birth} shown with text {text}"
        (committed,) = yield snapshot(f"committed{birth}")
        assert committed or mistake == "entry not loaded again", f"birth {birth} isn't committed"
        after = yield load_acquire(f"birth{record}")
        is_text = text % 100 == INFO and mistake != "replaced and left out"
        return text % 100 if after == birth or is_text else 0
    return 0


def check(words: dict[str, int]) -> None:
    """Each block has one place, the Info lives, and no label set lives twice."""
    places: list[int] = []
    block = words["head"]
    while block and len(places) <= len(BLOCKS):
        places.append(block)
        block = words[f"block{block}"]
    live = [record for record in RECORDS if is_live(words, record)]
    places += [words[f"text{record}"] for record in live]
    assert sorted(places) == list(BLOCKS), f"free or used: {places}"
    labels = [words[f"block{words[f'text{record}']}"] % 100 for record in live]
    assert all(words[f"entry{slot}"] in (0, *live) for slot in SLOTS), "an entry of the dead"
    assert all(words[f"birth{r}"] < words["next_birth"] for r in live), "a birth comes twice"
    assert sorted(labels) in ([INFO], [X, INFO]), f"alive after the repair: {labels}"


def worker(operations: int, mistake: str | None) -> Program:
    def run() -> Steps:
        for _ in range(operations):
            yield from operate(mistake)

    return run


def heir(*owners: str, mistake: str | None, checks: bool = True) -> Program:
    def run() -> Steps:
        for owner in owners:
            yield wait_dead(owner)
        yield from repair(mistake)
        found = yield snapshot(*WORDS)
        if checks:
            check(dict(zip(WORDS, found, strict=True)))

    return run


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "entry before the record",
        "old birth cleared first",
        "text given back first",
        "entry not loaded again",
        "slot compared instead",
        "removal leaves the entry",
        "no first birth",
        "nothing skipped",
        "skipped at once",
        "replaced and left out",
        "tried once",
    ],
)
def test_scrape(mistake: str | None) -> None:
    """A scrape shows no label set twice, an Info just once, and each text with its birth."""
    judge(scrape(mistake), mistake)


# As many as use a record again: replace the Info, remove x, make it in the old record.
OPERATIONS = 3


def scrape(mistake: str | None) -> Result:
    def reader() -> Steps:
        start = yield load_acquire("next_birth")
        shown: tuple[int, ...] = ()
        for slot in SLOTS:
            label = yield from show(slot, start, mistake)
            shown += (label,) if label else ()
        assert shown.count(INFO) == 1, f"shown: {shown}"
        assert shown.count(X) <= 1, f"shown: {shown}"

    processes = {
        "worker": worker(OPERATIONS, mistake),
        "heir": heir("worker", mistake=mistake, checks=False),
        "reader": reader,
    }
    return explore(WORDS, processes, kills=1, killable=["worker"], sc=True)


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "entry before the record",
        "old birth cleared first",
        "birth counted last",
        "repair leaves the entry",
        "repair keeps the texts",
    ],
)
def test_repair(mistake: str | None) -> None:
    """After a repair no block is lost, and of a replaced series one version lives."""
    processes = {
        "worker": worker(4, mistake),
        "heir": heir("worker", mistake=mistake),
        "second heir": heir("worker", "heir", mistake=mistake),
        "last": heir("worker", "heir", "second heir", mistake=mistake),
    }
    killable = ("worker", "heir", "second heir")
    judge(explore(WORDS, processes, kills=3, killable=killable, sc=True), mistake)
