"""The most series that a family may have, and the series that takes the rest."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("kind", ["Counter", "Gauge", "Summary", "Histogram"])
def test_overflow(method, kind):
    """Label sets of two processes beyond the limit count in one more series; totals are exact."""
    outcome = run("tests.plays.limits:full", method, kind, MPMETRICS_MAX_SERIES="10")

    assert {"shown": 11, "total": 36.0} == {key: outcome[key] for key in ("shown", "total")}
    # n0 to n9 have series: the second process wrote 4 beyond them, the first then 10.
    assert 14.0 == outcome["overflow"]
    assert 14.0 == outcome["dropped"]


def test_kept_overflow(method):
    """Every child that stands for the overflow series counts in it, however it was come by."""
    shown = run("tests.plays.limits:kept_overflow", method, MPMETRICS_MAX_SERIES="10")

    assert {f'm_total{{a="{i}",b="x"}}': 1.0 for i in range(10)} | {
        'm_total{a="__overflow__",b="__overflow__"}': 2 + 6 + 10
    } == shown


def test_room_after_clear():
    """A family that was full and cleared has room again, and overflows again, from zero."""
    full = {f'm_total{{who="n{i}"}}': 1.0 for i in range(10)} | {'m_total{who="__overflow__"}': 2.0}

    assert [full, {}, full, {}] == run(
        "tests.plays.limits:room_again", "clear", MPMETRICS_MAX_SERIES="10"
    )


def test_room_after_remove():
    """The overflow series may be removed like any other; the next overflow makes a new one."""
    first, _, second, _ = run("tests.plays.limits:room_again", "remove", MPMETRICS_MAX_SERIES="10")

    assert 2.0 == first['m_total{who="__overflow__"}']
    # Now n0 has the last room again, so that 10 and 11 overflow as before.
    assert 2.0 == second['m_total{who="__overflow__"}']
    assert 1.0 == second['m_total{who="n0"}']


def test_overflow_removed_by_another(method):
    """Also if another process cleared the family, what overflows then is counted."""
    pages = run("tests.plays.limits:removed_by_another", method, MPMETRICS_MAX_SERIES="10")

    expected = {f'm_total{{who="n{i}"}}': 1.0 for i in range(10)}
    assert [expected | {'m_total{who="__overflow__"}': 2.0}] * 2 == pages


@pytest.mark.slow
def test_memory_is_bounded():
    """20,000 label sets beyond the limit are kept in no dictionary and take no memory anywhere."""
    outcome = run("tests.plays.limits:memory", 200, 20_200, MPMETRICS_MAX_SERIES="100")

    assert outcome["python"] < 20_000
    assert 0 == outcome["store"]
    assert outcome["children"] <= 101  # with the overflow series
    assert 20_200 == outcome["total"]


def test_no_limit():
    """MPMETRICS_MAX_SERIES=0 is no limit."""
    assert {"shown": 3000, "total": 3000.0, "dropped": 0.0} == run(
        "tests.plays.limits:unlimited", 3000, MPMETRICS_MAX_SERIES="0"
    )


def test_families_are_limited_one_by_one():
    """The limit is a family's: metrics without labels are no series too many."""
    assert {"shown": 20.0, "dropped": 0.0} == run(
        "tests.plays.limits:without_labels", MPMETRICS_MAX_SERIES="1"
    )


@pytest.mark.parametrize(
    ("text", "limit"), [("", 100_000), ("7", 7), ("many", 100_000), ("-1", 100_000), ("0", 0)]
)
def test_the_variable(text, limit):
    """The limit is 100,000 unless MPMETRICS_MAX_SERIES says another number."""
    assert {"max_series": limit} == run(
        "tests.plays.limits:of_the_store", MPMETRICS_MAX_SERIES=text
    )
