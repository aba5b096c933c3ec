"""Processes that join one path at the same moment; for test_bad_input.py."""

from __future__ import annotations

import os
import subprocess
import sys

import mpmetrics

from .basics import page

_MEMBER = """
import sys
from mpmetrics import Counter
print("ready", flush=True)
sys.stdin.readline()
Counter("jobs", "h").inc()
print("done", flush=True)
sys.stdin.readline()
"""


def at_once(count: int) -> float:
    """What all of them have counted: each makes the store, or joins it, as they are let go."""
    members = [
        subprocess.Popen(
            [sys.executable, "-c", _MEMBER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for _ in range(count)
    ]
    for member in members:
        assert member.stdout is not None
        assert member.stdout.readline() == "ready\n"
    for member in members:
        assert member.stdin is not None
        member.stdin.write("\n")
    for member in members:
        assert member.stdout is not None
        assert member.stdout.readline() == "done\n"
    mpmetrics.Store(os.environ["MPMETRICS_STORE"])
    found = page()["jobs_total"]
    for member in members:
        member.communicate("\n")
    return found
