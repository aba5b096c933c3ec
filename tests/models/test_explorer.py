"""The explorer itself: litmus tests whose outcomes are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .explorer import (
    Op,
    Program,
    Result,
    Steps,
    cas,
    choose,
    exchange,
    explore,
    fetch_add,
    load_acquire,
    load_seq_cst,
    store_relaxed,
    store_release,
    wait_dead,
)

MakesStore = Callable[[str, int], Op]


@pytest.mark.parametrize(("store", "held"), [(store_release, True), (store_relaxed, False)])
def test_message_passing(store: MakesStore, held: bool) -> None:
    """A release store shows what was stored before it; a relaxed one doesn't."""

    def writer() -> Steps:
        yield store_relaxed("data", 1)
        yield store("flag", 1)

    def reader() -> Steps:
        flag = yield load_acquire("flag")
        data = yield load_acquire("data")
        assert data >= flag, "flag without data"

    result = explore({"data": 0, "flag": 0}, {"writer": writer, "reader": reader})
    assert held == (not result.error), result


@pytest.mark.parametrize(("second", "held"), [(store_release, True), (store_relaxed, False)])
def test_release_does_not_order_what_follows(second: MakesStore, held: bool) -> None:
    """A relaxed store may become visible before the release store that it follows."""

    def writer() -> Steps:
        yield store_release("first", 1)
        yield second("second", 1)

    def reader() -> Steps:
        after = yield load_acquire("second")
        before = yield load_acquire("first")
        assert before >= after, "overtaken"

    result = explore({"first": 0, "second": 0}, {"writer": writer, "reader": reader})
    assert held == (not result.error), result


def store_buffering(mine: Op, yours: Op) -> Result:
    def process(store: Op, load: Op, saw: str) -> Program:
        def run() -> Steps:
            yield store
            value = yield load
            yield store_release(saw, value)

        return run

    def final(words: dict[str, int]) -> None:
        assert words["saw.a"] or words["saw.b"], "both missed the other"

    return explore(
        {"a": 0, "b": 0, "saw.a": 0, "saw.b": 0},
        {
            "A": process(mine, yours, "saw.a"),
            "B": process(mine._replace(word="b"), yours._replace(word="a"), "saw.b"),
        },
        final=final,
    )


@pytest.mark.parametrize(
    ("store", "load", "held"),
    [
        (store_release, load_acquire, False),
        (exchange, load_acquire, False),
        (store_release, load_seq_cst, False),
        (exchange, load_seq_cst, True),
    ],
)
def test_store_buffering(store: MakesStore, load: Callable[[str], Op], held: bool) -> None:
    """Only a seq_cst load after a read-modify-write is sure to come after its store."""
    result = store_buffering(store("a", 1), load("b"))
    assert held == (not result.error), result


def test_read_modify_writes_are_atomic() -> None:
    """Two adds give two, and one of two compare-and-swaps wins."""

    def process() -> Steps:
        yield fetch_add("sum", 1)
        won = yield cas("owner", 0, 1)
        if won:
            yield fetch_add("won", 1)

    def final(words: dict[str, int]) -> None:
        assert (words["sum"], words["won"]) == (2, 1), words

    result = explore({"sum": 0, "owner": 0, "won": 0}, {"A": process, "B": process}, final=final)
    assert not result.error, result


def test_plain_adds_are_not() -> None:
    """The search finds the lost update."""

    def process() -> Steps:
        value = yield load_acquire("sum")
        yield store_release("sum", value + 1)

    def final(words: dict[str, int]) -> None:
        assert words["sum"] == 2, "lost update"

    result = explore({"sum": 0}, {"A": process, "B": process}, final=final)
    assert result.error == "lost update"


def test_the_dead_are_seen_dead_after_their_stores() -> None:
    """What a killed process had stored is visible once it is known to be dead, and only that."""
    seen: set[object] = set()

    def writer() -> Steps:
        yield store_relaxed("a", 1).counted("issued")
        yield store_relaxed("b", 1).counted("issued")

    def reader() -> Steps:
        yield wait_dead("writer")
        a = yield load_acquire("a")
        b = yield load_acquire("b")
        issued = yield load_acquire("issued")
        seen.add((a, b))
        assert a + b == issued, "a store was lost"

    words = {"a": 0, "b": 0, "issued": 0}
    result = explore(words, {"writer": writer, "reader": reader}, kills=1, killable=["writer"])
    assert not result.error, result
    assert seen == {(0, 0), (1, 0), (1, 1)}


def test_every_choice_is_tried_and_loops_end() -> None:
    """Waiting loops are no states of their own; a choice is one history each."""
    seen: set[object] = set()

    def setter() -> Steps:
        value = yield choose(3)
        yield store_release("word", value + 1)

    def waiter() -> Steps:
        value = 0
        while value == 0:
            value = yield load_acquire("word")
        seen.add(value)

    result = explore({"word": 0}, {"setter": setter, "waiter": waiter})
    assert not result.error, result
    assert seen == {1, 2, 3}


def test_waiting_for_ever_is_found() -> None:
    """Two processes that wait for each other's end are a counterexample."""

    def waits_for(other: str) -> Program:
        def run() -> Steps:
            yield wait_dead(other)

        return run

    result = explore({}, {"A": waits_for("B"), "B": waits_for("A")})
    assert result.error == "nobody can go on"


def test_waiting_in_a_loop_for_ever_is_found() -> None:
    """A loop whose condition nobody can meet any more has no end."""

    def setter() -> Steps:
        yield store_release("word", 1)

    def waiter() -> Steps:
        value = 0
        while value != 1:
            value = yield load_acquire("word")

    processes = {"setter": setter, "waiter": waiter}
    assert not explore({"word": 0}, processes, ends=True).error
    result = explore({"word": 0}, processes, kills=1, killable=["setter"], ends=True)
    assert result.error == "somebody waits for ever"
