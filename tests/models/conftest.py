"""The models' row in the table of docs/guarantees.md."""

from __future__ import annotations

import os

import pytest
from tests.proved import record

from .explorer import judged


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After all of them, and in one process: others of pytest-xdist each see a part."""
    if exitstatus == 0 and judged and "PYTEST_XDIST_WORKER" not in os.environ:
        right = [result for result, mistake in judged if mistake is None]
        record(
            "models",
            row="every interleaving, kill and reordering of the protocols' models",
            seen=f"no counterexample in {sum(result.states for result in right):,} states and "
            f"{sum(result.steps for result in right):,} steps between them; one for each of "
            f"{len(judged) - len(right)} mistakes",
            command="make models",
        )
