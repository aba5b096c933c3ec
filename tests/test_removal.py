"""Series that are removed, and counters that are reset, in many processes."""

from __future__ import annotations

import os

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")

# What one process's one update shows, by kind.
ONE = {
    "Counter": {'m_total{who="x"}': 2.0},
    "Gauge": {'m{who="x"}': 2.0},
    "Gauge sum": {'m{who="x"}': 2.0},
    "Gauge livemax": {'m{who="x"}': 2.0},
    "Summary": {'m_count{who="x"}': 1.0, 'm_sum{who="x"}': 2.0},
    "Histogram": {
        'm_bucket{le="1.0",who="x"}': 0.0,
        'm_bucket{le="+Inf",who="x"}': 1.0,
        'm_count{who="x"}': 1.0,
        'm_sum{who="x"}': 2.0,
    },
    "Info": {'m_info{version="2",who="x"}': 1.0},
    "Enum": {'m{m="a",who="x"}': 0.0, 'm{m="b",who="x"}': 1.0},
}
ADDS = ("Counter", "Gauge sum", "Summary", "Histogram")  # the others show the last


@pytest.mark.parametrize("kind", ONE)
def test_removed_everywhere(method, kind):
    """A series that one process removes is gone from every process's scrape at once.

    Children that are kept count for nobody, and labels() makes a new series, from zero."""
    once = ONE[kind]
    thrice = {name: 3 * value for name, value in once.items()} if kind in ADDS else once

    assert [thrice, {}, {}, once, thrice] == run("tests.plays.removal:kinds", method, kind)


def test_by_labels_and_clear(method):
    """remove_by_labels and clear remove what any process made, and nothing else."""
    seen = run("tests.plays.removal:by_labels", method)

    def series(*pairs: str) -> list[str]:
        return [f'm_total{{a="{a}",b="{b}"}}' for a, b in pairs]

    assert [
        series("14", "15", "16", "23", "24", "25"),
        series("14", "15", "16", "23", "24", "25"),
        series("14", "15", "16", "23", "24", "25"),
        series("23", "24", "25"),
        series("24", "25"),
        series("24", "25"),
        series("25"),
        [],
        [],
        series("13"),
    ] == seen


def test_wrong_calls():
    """Wrong calls of remove and its like raise what prometheus_client raises."""
    assert {
        "too few": "ValueError",
        "too many": "ValueError",
        "no labels": "ValueError",
        "no dict": "TypeError",
        "unknown": "ValueError",
        "no labels, by labels": "ValueError",
        "clear without labels": "",
    } == run("tests.plays.removal:wrong")


def test_reset(method):
    """reset() lets a counter show zero for all processes, also the dead, and count on from there.

    Of what was reset nothing is left to the next series in its words."""
    label = 'l_total{who="x"}'
    assert [
        {"m_total": 10.0, label: 10.0},
        {"m_total": 0.0, label: 10.0},
        {"m_total": 3.0, label: 10.0},
        {"m_total": 0.0, label: 0.0},
        {"m_total": 3.0, label: 3.0},
        {"m_total": 3.0, label: 4.0},
    ] == run("tests.plays.removal:reset", method)


@pytest.mark.slow
def test_reset_while_counting(method):
    """A counter that is reset while another process counts never shows less than zero."""
    assert {"lowest": 0.0, "end": 2.0} == run(
        "tests.plays.removal:reset_while_counting", method, 20_000
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_storm(start):
    """A million label sets made and removed leave the store as large as 1,000 do.

    Also while a worker that touched some of them sleeps and one is stopped. Nothing removed is
    seen again, and nothing counted twice, when those two go on with the children that they kept.
    MPMETRICS_TEST_STORM in the environment says how many instead of a million."""
    many = int(os.environ.get("MPMETRICS_TEST_STORM", "1000000"))
    outcome = run("tests.plays.removal:storm", start, 1000, many, limit=200)

    few_size, many_size = outcome["sizes"]
    assert [{}, {}, {}] == outcome["pages"]
    assert [0, 0] == [few_size["series"], many_size["series"]]
    for size in ("used_bytes", "blocks", "file_bytes"):
        assert few_size[size] == many_size[size]
    alive = outcome["alive"]
    expected = {
        "c_total": alive,
        "g": alive,
        "h_bucket": 2 * alive,
        "h_count": alive,
        "h_sum": alive / 2,
    }
    assert expected == outcome["made"]
    assert expected == outcome["after"]
    assert [expected] * 2 == outcome["everywhere"]
