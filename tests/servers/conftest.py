"""The table in docs/servers.md: one row a model, written by the run when WRITE_SERVERS is set.

WRITE_SERVERS=1 python -m pytest tests/servers
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.servers.table import TABLE


@pytest.fixture(autouse=True)
def _nothing_left(nothing_left: None) -> None:
    """No server leaves a made-up store behind."""


@pytest.fixture
def proved(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what a test has shown of the model that it is about."""
    model_id = request.node.callspec.id

    def note(result: str) -> None:
        TABLE.proved[model_id] = result

    return note


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("WRITE_SERVERS"):
        TABLE.write()
