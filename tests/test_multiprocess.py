"""mpmetrics.multiprocess: a collector of everything, for programs that have prometheus_client's."""

from __future__ import annotations

import re

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

PLAYS = "tests.plays.multiprocess"
PAGE = {
    'jobs_total{a="x"}': 2.5,
    'seconds_bucket{le="1.0"}': 1.0,
    'seconds_bucket{le="2.0"}': 2.0,
    'seconds_bucket{le="+Inf"}': 2.0,
    "seconds_count": 2.0,
    "seconds_sum": 2.5,
}


def test_ways(method):
    """Every way to ask shows what all registries of all processes have, also of the killed.

    `name[]` finds the names in each, though the collector says beforehand that it has none."""
    seen = run(f"{PLAYS}:ways", method)

    assert [{}, {}] == seen["empty"]
    assert dict.fromkeys(seen["pages"], PAGE) == {
        way: {name: page[name] for name in PAGE} for way, page in seen["pages"].items()
    }
    assert all(page.keys() - PAGE <= {"late_total"} for page in seen["pages"].values())
    part = {name: PAGE[name] for name in ('jobs_total{a="x"}', "seconds_count")}
    assert {
        "app": [part, {}],
        "nameless": part,
        "theirs": part,
        "by theirs": {'jobs_total{a="x"}': 2.5},
        "late": [{"late_total": 0.0}],
    } == seen["restricted"]


def test_registry_with_little():
    """prometheus_client's class needs only `register` of a registry, and so does ours."""
    assert [True, {"x_total": 2.0}] == run(f"{PLAYS}:registry_with_little")


def test_unregistered_collector():
    """Once it is unregistered nothing of it is shown, by name either; other collectors stay."""
    assert [{"x_total": 2.0}, {"local": 1.0}, {"local": 1.0}, {}] == run(f"{PLAYS}:unregistered")


def test_beside_metrics():
    """A registry that has the collector and metrics shows each family once, all added up."""
    seen = run(f"{PLAYS}:beside_metrics")

    assert 3.0 == seen['jobs_total{a="x"}']
    assert 2.0 == seen["seconds_count"]


def test_unlike_families():
    """Families of one name and type are one, whatever their labels and buckets.

    Of other types, or of names that share a sample, the older one is shown. Of what has one value
    for all processes the younger registry's is."""
    seen = run(f"{PLAYS}:unlike")

    assert {
        'a_total{x="1"}': 1.0,
        'a_total{y="2",z="3"}': 1.0,
        "b_total": 1.0,
        'h_bucket{le="1.0"}': 0.0,
        'h_bucket{le="2.0"}': 1.0,
        'h_bucket{le="4.0"}': 2.0,
        'h_bucket{le="+Inf"}': 2.0,
        "h_count": 2.0,
        "h_sum": 5.0,
        "g": 2.0,
        'i_info{version="1"}': 1.0,
        'i_info{version="2"}': 1.0,
        'e{e="on"}': 1.0,
        'e{e="off"}': 0.0,
    } == seen["samples"]
    assert len(seen["types"]) == len(set(seen["types"]))


def test_exemplars():
    """Of several registries' exemplars the newest is shown, and the oldest `_created`."""
    page = run(f"{PLAYS}:exemplars")

    assert re.search(r'^a_total 3.0 # \{n="newest"\} 1.0 ', page, re.MULTILINE)
    assert re.search(r'^h_bucket\{le="1.0"\} 2.0 # \{n="1"\} 0.5 ', page, re.MULTILINE)
    assert 1 == page.count("a_created")
    assert page.endswith("# EOF\n")


def test_functions():
    """A gauge that follows a function shows its value of the moment."""
    first, second = run(f"{PLAYS}:functions")

    assert first["g"] + 1 == second["g"]
