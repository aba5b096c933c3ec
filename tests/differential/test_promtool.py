"""Prometheus' own checker reads our pages."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings

import mpmetrics

from .programs import World, programs

PROMTOOL = shutil.which("promtool")
# It lints too, and then ends with 3: those are complaints about the program's names, not the page.
LINTED = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian: prometheus) is not installed"),
]


@settings(deadline=None, max_examples=20)
@given(programs())
def test_promtool_accepts(program):
    """`promtool check metrics` can read whatever page a program makes."""
    ours = World(mpmetrics, program.declarations)
    ours.run(program.calls)
    page = mpmetrics.generate_latest(ours.registry)

    checked = subprocess.run([PROMTOOL, "check", "metrics"], input=page, capture_output=True)

    assert checked.returncode in (0, LINTED), checked.stderr.decode()
    assert b"error while" not in checked.stderr
