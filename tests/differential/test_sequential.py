"""One process: the same program on prometheus_client's classes and on ours."""

import prometheus_client
from hypothesis import given, settings

from .programs import in_any_order, ours_and_theirs, programs, without_created

SETTINGS = settings(deadline=None, max_examples=100)


@SETTINGS
@given(programs())
def test_same_outcomes(program):
    """Every declaration and every call gives, or raises, what prometheus_client's does."""
    ours, theirs = ours_and_theirs(program)

    assert theirs.outcomes == ours.outcomes


@SETTINGS
@given(programs(removal=False))
def test_same_pages(program):
    """What is collected, and both formats byte for byte, are theirs, but for when in `_created`."""
    ours, theirs = ours_and_theirs(program)

    assert theirs.samples() == ours.samples()
    assert theirs.text() == ours.text()
    assert theirs.openmetrics() == ours.openmetrics()


@SETTINGS
@given(programs())
def test_same_pages_after_removal(program):
    """With removal too, in any order: a new series may stand where a removed one stood."""
    ours, theirs = ours_and_theirs(program)

    assert in_any_order(theirs.samples()) == in_any_order(ours.samples())
    assert sorted(theirs.text().splitlines()) == sorted(ours.text().splitlines())
    assert sorted(theirs.openmetrics().splitlines()) == sorted(ours.openmetrics().splitlines())


@SETTINGS
@given(programs())
def test_their_encoder(program):
    """prometheus_client's own generate_latest gives of our registry what ours does."""
    ours, _ = ours_and_theirs(program)

    page = prometheus_client.generate_latest(ours.registry).decode()

    assert ours.text() == without_created(page)
