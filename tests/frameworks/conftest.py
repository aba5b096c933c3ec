"""The table in docs/libraries.md: one row a library, written by the run if WRITE_LIBRARIES is set.

WRITE_LIBRARIES=1 python -m pytest tests/frameworks
"""

from __future__ import annotations

import os

import pytest
from tests.frameworks.table import TABLE


@pytest.fixture(autouse=True)
def _nothing_left(nothing_left: None) -> None:
    """No server leaves a made-up store behind."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("WRITE_LIBRARIES"):
        TABLE.write()
