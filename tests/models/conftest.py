"""The models' row in the table of docs/guarantees.md."""

from __future__ import annotations

import os

import pytest
from tests.proof import record

from .explorer import judged


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After all of them, and in one process: others of pytest-xdist each see a part."""
    if exitstatus == 0 and judged and "PYTEST_XDIST_WORKER" not in os.environ:
        right = [result for result, mistake in judged if mistake is None]
        record(
            "models",
            row="every interleaving, kill and reordering of the protocols' models",
            seen=f"{len(right)} models hold in all their {sum(r.states for r in right):,} states "
            f"and {sum(r.steps for r in right):,} steps between them; "
            f"{len(judged) - len(right)} mistakes, each with a counterexample",
            command="make models",
        )
