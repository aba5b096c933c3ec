"""joblib and loky: every worker's page shows what all of them did, also after one was killed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
from tests.programs import run
from tests.servers import models
from tests.servers.test_multiprocessing import judge

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", models.LOKY, ids=models.LOKY)
def test_exact(model: str, proved: Callable[[str], None]) -> None:
    """300 tasks are 300 on the page of each worker; 100 after a SIGKILL make 400."""
    if importlib.util.find_spec(model) is None:
        pytest.skip(f"{model} isn't installed: pip install '.[servers]'")
    proved(judge(run(f"tests.servers.pools:{model}")))
