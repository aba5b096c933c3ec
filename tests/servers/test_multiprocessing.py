"""multiprocessing: every process's page shows what all of them did, also after one was killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tests.programs import run
from tests.servers import driver, models

pytestmark = pytest.mark.slow

KINDS = {"Process": "process", "Pool": "pool", "ProcessPoolExecutor": "executor"}


def judge(pages: tuple[Mapping[str, str], Mapping[str, str]]) -> str:
    """What the table says of these pages, those before the kill and those after."""
    for events, found in zip((driver.FIRST, driver.FIRST + driver.LATER), pages, strict=True):
        assert len(found) >= 2
        for pid, text in found.items():
            driver.assert_true(events, int(pid), text)
    assert not set(pages[0]) >= set(pages[1])
    total = driver.FIRST + driver.LATER
    return f"{driver.FIRST} of {driver.FIRST}, then {total} of {total}"


@pytest.mark.parametrize("model", models.POOLS, ids=models.POOLS)
def test_exact(model: str, proved: Callable[[str], None]) -> None:
    """300 tasks are 300 on the page of each worker; 100 after a SIGKILL make 400."""
    kind, method = model.split(", ")
    proved(judge(run(f"tests.servers.pools:{KINDS[kind]}", method)))
