"""Families and label sets made in one process, seen in another."""

from __future__ import annotations

from typing import Any

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


def play(name: str, *args: Any) -> Any:
    return run("tests.concurrency.declaring:" + name, *args)


def test_labels_of_all(method):
    """A label set made in any process is in every other's scrape, and stays when that one ends."""
    expected = {
        'x_total{who="parent"}': 1.0,
        'x_total{who="child 0"}': 1.0,
        'x_total{who="child 1"}': 1.0,
        'x_total{who="everybody"}': 3.0,
    }
    assert [expected] * 4 == play("labels_of_all", method)


def test_labels_removed_by_another(method):
    """A label set that one process removes is gone in all; whoever asks again gets a new one."""
    sample = 'x_total{who="a"}'
    assert [{sample: 2.0}, {}, {}, {sample: 1.0}, {sample: 1.0}] == play(
        "removed_by_another", method
    )


@pytest.mark.slow
def test_ten_thousandth_label_set(record_property):
    """Two processes make 10,000 label sets each; every one is in both scrapes."""
    outcome = play("many_labels", "fork", 10_000)

    record_property("seconds for each 1,000", outcome["times"])
    print("seconds for each 1,000:", *(f"{seconds:.4f}" for seconds in outcome["times"]))
    assert [True, True] == outcome["right"]


def test_same_family_of_two_processes(method):
    """Two processes that declare the same families share them, and a third sees them."""
    expected = {
        "first": 0.0,
        "c_total": 2.0,
        "g": 2.0,
        "s_count": 2.0,
        "s_sum": 1.0,
        'h_bucket{le="1.0"}': 2.0,
        'h_bucket{le="2.0"}': 2.0,
        'h_bucket{le="+Inf"}': 2.0,
        "h_count": 2.0,
        "h_sum": 1.0,
    }
    assert [expected] * 3 == play("joined_declarations", method)


def test_other_shape(method):
    """A newer shape hides the older in every process, which goes with its last declarer."""
    first = {"first": 0.0}
    old = first | {
        'h_bucket{le="1.0"}': 1.0,
        'h_bucket{le="2.0"}': 1.0,
        'h_bucket{le="+Inf"}': 1.0,
        "h_count": 1.0,
        "h_sum": 0.5,
    }
    new = first | {
        'h_bucket{le="5.0"}': 1.0,
        'h_bucket{le="+Inf"}': 1.0,
        "h_count": 1.0,
        "h_sum": 3.0,
    }
    seen = play("other_shapes", method)

    assert [old, 0.0] == seen["alone"]
    assert [new] * 3 == seen["both"]
    assert [["new help"]] * 3 == seen["help"]
    assert [1.0] * 3 == seen["hidden"]
    assert [new] * 2 == seen["after"]
    assert [0.0] * 2 == seen["hidden after"]
    assert 1 == seen["series gone"]
    assert new == seen["at the end"]


def test_other_help(method):
    """Of two help texts of one family the newest is shown, by everybody and once."""
    assert [["new help"]] * 3 == play("other_help", method)


def test_clashing_types(method):
    """A counter x and a gauge x_total of two processes are two shapes: the newer one is shown."""
    outcome = play("clashing_types", method)

    assert [{"first": 0.0, "x_total": 2.0}] * 3 == outcome["seen"]
    assert 1.0 == outcome["hidden"]


def test_filter(method):
    """`name[]` and restricted_registry find other processes' families, also the newest ones."""
    theirs = {'theirs_total{l="v"}': 1.0}
    outcome = play("filtered", method)

    assert [theirs, theirs | {"mine_total": 0.0}, {}] == outcome["app"]
    assert [theirs, theirs] == outcome["plain"]
    assert theirs | {"mine_total": 0.0} == outcome["full"]
    assert {"late_total": 1.0} == outcome["late"][0]
    assert theirs | {"mine_total": 0.0, "late_total": 1.0} == outcome["late"][1]


def test_stand_ins_step_aside(method):
    """A family shown for another process gives way to one's own declaration: never shown twice.

    Unregistered, it stays away from this process's scrapes and not from the other's."""
    first = {"first": 0.0}
    outcome = play("steps_aside", method)

    assert first | {"x_total": 1.0} == outcome["before"]
    assert [first | {"x_total": 2.0}] * 2 == outcome["joined"]
    assert [first, first | {"x_total": 2.0}] == outcome["gone"]
    assert [first | {"x_total": 3.0}] * 2 == outcome["again"]


def test_name_of_a_collector_that_is_not_ours(method):
    """Where a local collector has the name, the other processes' family is left out and counted."""
    outcome = play("name_is_taken", method)

    assert {"first": 0.0, "x_total": 100.0} == outcome["mine"]
    assert {"first": 0.0, "x_total": 1.0} == outcome["theirs"]
    assert 1 == outcome["left_out"]


def test_foreign_name_declared_later():
    """prometheus_client's own metric takes the name that a stand-in has: never an error."""
    outcome = play("their_name_later", "spawn")

    assert outcome["error"] is None
    assert {"first": 0.0, "x_total": 100.0} == outcome["page"]


def test_foreign_name_declared_later_in_our_registry(method):
    """So it is in a CollectorRegistry of ours; what this process has twice is an error as ever."""
    mine = {"z_total": 0.0}
    before = mine | {"x_total": 1.0, "y_total": 0.0}
    after = mine | {"x_total": 100.0, "y_total": 0.0}
    assert [before, after, True, after, before | {"w_total": 0.0}] == play(
        "their_name_later_in_ours", method
    )


def test_family_of_the_dead(method):
    """What a process declared and counted is shown after its end."""
    assert {"first": 0.0, "x_total": 1.0} == play("of_the_dead", method)


def test_named_registry(method):
    """A registry with a name is one in all processes, and no other shows what is in it."""
    assert [{"x_total": 2.0}, {"x_total": 2.0}, {}] == play("registries", method)
