"""Environment variables that make no sense: one line of the log, and the default."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("text", ["-1", "many", "1e3", str(1 << 64)])
def test_number(text):
    """What is no number from 0 up is as if it weren't there, and one line says so."""
    found, lines = run("tests.plays.settings:max_series", MPMETRICS_MAX_SERIES=text)

    assert 100_000 == found
    assert [f"MPMETRICS_MAX_SERIES={text} is no number from 0 up: 100000 it is"] == lines


@pytest.mark.parametrize("text", ["maybe", "2", "ja"])
@pytest.mark.parametrize("variable", ["MPMETRICS_PERSIST", "MPMETRICS_STRICT"])
def test_switch(variable, text, store):
    """What is neither on nor off is off, and one line says so, however often it is asked."""
    lines = run("tests.plays.settings:switches", store=store, **{variable: text})

    assert [f"{variable}={text} is neither on nor off: off it is"] == lines


@pytest.mark.parametrize("text", ["", "0", "false", "No", "OFF", "1", "True", "yes", "on"])
def test_sensible_switch(text, store):
    """Of what makes sense nothing is said."""
    assert [] == run(
        "tests.plays.settings:switches",
        store=store,
        MPMETRICS_PERSIST=text,
        MPMETRICS_STRICT=text,
        MPMETRICS_MAX_SERIES="0",
    )
