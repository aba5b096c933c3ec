"""Tests of builds that have more in them than what is shipped."""

from __future__ import annotations

import os

import pytest


def need(what: str) -> None:
    """Skips the test in a build that hasn't it, unless the run says that this is one that has."""
    from mpmetrics._native import BUILT_FOR

    if what in BUILT_FOR:
        return
    missing = f"this build has no {what}; it has: {BUILT_FOR or 'nothing for tests'}"
    if what in os.environ.get("MPM_BUILT_FOR", ""):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
def crash_points() -> None:
    """The core dies where MPM_CRASH_AT says (make crash)."""
    need("crash points")


@pytest.fixture
def mutants() -> None:
    """The core makes the mistake that MPM_MUTANT names (make mutants)."""
    need("mutants")
