"""Exact totals of many writers, in every process's scrape."""

from __future__ import annotations

import pytest
from tests.programs import run


@pytest.mark.slow
def test_every_number_is_right(method, nothing_left):
    """4 processes × 4 threads × 100,000 updates: every process's scrape says exactly that.

    Also that of the parent and of a child that declare none of it, by our renderer and by
    prometheus_client's, and after the writers' death."""
    outcome = run("tests.concurrency.mixed_updates:run_all", method)

    assert [] == outcome["wrong"]
    assert 2 * (4 + 1 + 2) == outcome["pages"]


@pytest.mark.slow
def test_every_number_is_right_in_a_named_store(store):
    """So it is in a store that MPMETRICS_STORE names, on another file system."""
    assert [] == run("tests.concurrency.mixed_updates:run_all", "spawn", store=store)["wrong"]
