"""What every test may use.  Nothing here imports mpmetrics when tests are collected."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

import pytest


@pytest.fixture(params=("fork", "forkserver", "spawn"))
def ctx(request: pytest.FixtureRequest) -> BaseContext:
    """Every concurrency test runs under every way Python can make a process."""
    return multiprocessing.get_context(request.param)
