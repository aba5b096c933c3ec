"""Scrapes beside writers that never pause."""

from __future__ import annotations

import pytest
from tests.programs import run


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_scrape_tears(method, nothing_left):
    """In 10,000 scrapes beside two writers of 1.0, sum, count and +Inf bucket are always equal.

    Of a histogram of three buckets, one of sixty, and a summary; nor does a number go back. So it
    is in 500 scrapes by prometheus_client's own renderer."""
    outcome = run("tests.concurrency.scrapes:scrape", method, 10_000, 500, limit=200)

    assert [] == outcome["torn"]
    assert 0 == outcome["backwards"]
    assert outcome["different"] > 100, "the writers didn't run while we looked"
