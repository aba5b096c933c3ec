"""docs/migrating.md: both configurations run as they stand there, and differ as the page says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from examples.rig import page as pages
from tests.answering import Watched
from tests.guides.guide import MIGRATING, guide
from tests.servers.driver import Model, need, serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

BEFORE, AFTER = "Before: prometheus_client's multi-process mode", "After"
ORDERS = 60


def pages_of(section: str, folder: Path) -> list[dict[str, float]]:
    """A page of each of two workers, after so many orders by both of them."""
    need("gunicorn")
    told = guide(MIGRATING[section])
    for command in told.before:
        subprocess.run(command, shell=True, cwd=folder, check=True, timeout=10)
    variables = {"GUNICORN_CMD_ARGS": "--no-control-socket"}
    model = Model(told.command, files=told.files, variables=variables)
    with serving(model, folder, Watched) as served:
        served.work_by_two(ORDERS)
        return [pages.read(text) for text in served.pages().values()]


def counted(page: dict[str, float]) -> dict[str, float]:
    """What has nothing to do with times and processes."""
    return {
        name: value
        for name, value in page.items()
        if re.match("orders_total|order_seconds_count|running_orders", name)
    }


def test_both_are_right(tmp_path: Path) -> None:
    """60 orders are 60 on every worker's page, before and after; a gauge without mode loses pid."""
    pages = {}
    for section in (BEFORE, AFTER):
        folder = tmp_path / section[:6].strip()
        folder.mkdir()
        pages[section] = pages_of(section, folder)
    truth = {
        'orders_total{product="tea"}': float(ORDERS),
        "order_seconds_count": float(ORDERS),
        "running_orders": 0.0,
    }

    assert [truth] * 4 == [counted(page) for each in pages.values() for page in each]
    for page in pages[BEFORE]:
        last = {name: value for name, value in page.items() if name.startswith("last_order")}
        assert len(last) >= 2
        assert all(re.fullmatch(r'last_order\{pid="\d+"\}', name) for name in last)
        assert 'orders_created{product="tea"}' not in page
    for page in pages[AFTER]:
        assert {3.0} == {value for name, value in page.items() if name.startswith("last_order")}
        assert "last_order" in page
        assert 'orders_created{product="tea"}' in page


def test_every_block_is_run() -> None:
    """No snippet of the page is in a section that nobody runs."""
    assert [BEFORE, AFTER] == [name for name, text in MIGRATING.items() if "```python" in text]
