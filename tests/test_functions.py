"""Gauges that follow a function."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_own_scrape():
    """Each scrape by the process that set the function asks it, by whatever renderer."""
    assert [2.0, 3.0, 4.0, 5.0, 6.0] == run("tests.plays.functions:own_scrape")


@pytest.mark.parametrize("mode", [None, "sum", "livesum", "mostrecent"])
def test_other_process(method, mode):
    """Other processes' scrapes show the first value at once, and each later one after the interval.

    They never call the function. What a killed process's function said last stays, but in live
    modes."""
    outcome = run("tests.plays.functions:other_process", method, mode)

    assert [1.0] == outcome["first"]
    assert outcome["later"]
    assert [] == outcome["called here"]
    assert ({} if mode == "livesum" else {"g": 42.0}) == outcome["after"]


def test_others_do_nothing():
    """No other method of a gauge that follows a function does anything; another function does."""
    assert {"inside": 1.0, "after": 1.0, "twice": 9.0} == run(
        "tests.plays.functions:others_do_nothing"
    )


def test_error():
    """What a function raises, its own process's scrape raises, as in prometheus_client.

    The thread logs it once for each gauge, and again after it has worked in between."""
    outcome = run("tests.plays.functions:raising")

    assert ["ZeroDivisionError"] * 3 == outcome["errors"]
    assert [
        "the function that gauge:a follows failed",
        "the function that gauge:b follows failed",
    ] == sorted(outcome["told"])
    assert outcome["worked"]
    assert ["the function that gauge:a follows failed"] == outcome["again"]


def test_not_a_number():
    """A function that returns no number is the scrape's error, and not set_function's."""
    assert {"error": "ValueError"} == run("tests.plays.functions:not_a_number")


def test_fork():
    """A fork does not call its parent's functions, and shows what they said last there.

    It may have functions of its own."""
    outcome = run("tests.plays.functions:forked")

    assert not outcome["called in the child"]
    assert [{"g": 2.0, "own": 0.0}] * 2 == outcome["seen"]["pages"]
    assert [] == outcome["seen"]["threads"]
    assert [5.0, 0.0] == outcome["own"]
    assert {"g": 2.0, "own": 5.0} == outcome["still"]


def test_labelled():
    """Each child follows a function of its own; a removed one none, and starts from zero."""
    outcome = run("tests.plays.functions:labelled")

    assert outcome["refused"]
    a, b, c = (f'g{{who="{who}"}}' for who in "abc")
    assert {a: 1.0, b: 4.0, c: 3.0} == outcome["seen"]
    assert {b: 4.0, c: 3.0} == outcome["gone"]
    assert {a: 10.0, b: 4.0, c: 3.0} == outcome["anew"]


def test_forgotten():
    """A gauge that goes away is followed no more."""
    assert 0 == run("tests.plays.functions:forgotten")


@pytest.mark.xfail(reason="functions.py keeps the function, which keeps the gauge: C has no place")
def test_forgotten_with_its_function():
    """Also if its function holds the gauge itself."""
    assert 0 == run("tests.plays.functions:cyclic")
