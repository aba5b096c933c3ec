"""Boxes and metrics are shared, whatever makes the process and however it is handed them."""

from __future__ import annotations

import pytest
from tests.programs import run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]


@pytest.mark.parametrize("way", ["argument", "pool", "executor", "global", "module"])
def test_shared(method, way):
    """A child's box is this process's memory, its counter this process's series."""
    assert [2, 2.0] == run("tests.matrix:cell", method, way)
