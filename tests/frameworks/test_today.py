"""An application as people have it today: its folder, its hook and its collector; unmodified."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from examples.rig import page as pages
from examples.rig.processes import wait_until
from tests.frameworks.libraries import G
from tests.frameworks.proof import APPS, FIRST, LATER, OWN, Shop, need, work_by_two
from tests.servers.driver import PATIENCE, Model, alive, serving

pytestmark = pytest.mark.slow

COMMAND = f"{G} --config today_gunicorn_conf.py today_app:app"
FILES = ("today_app.py", "today_gunicorn_conf.py", "own.py")


def model(command: str, folder: Path) -> Model:
    """With a folder that an earlier run has left."""
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"left over")
    return Model(
        command,
        files={name: (APPS / name).read_text() for name in FILES},
        variables={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
    )


def truth(requests: int) -> dict[str, float]:
    """What either library must show after so many requests."""
    return {
        "shop_jobs_total": float(requests),
        'seconds_bucket{le="0.2"}': 0.0,
        'seconds_bucket{le="0.5"}': float(requests),
        'seconds_bucket{le="+Inf"}': float(requests),
        "seconds_count": float(requests),
        "seconds_sum": 0.25 * requests,
        "running": 0.0,
    }


def assert_true(
    served: Shop, must: dict[str, float], without: frozenset[int] = frozenset()
) -> None:
    """Each worker's page says so, and of the one number of one worker what can be."""
    for pid, text in served.pages(without=without).items():
        values = pages.read(text)
        assert must == {name: values.get(name) for name in must}, f"{pid}:\n{text}"
        assert 0 < values["largest"] < served.answered


def test_it_is_the_real_thing(tmp_path: Path) -> None:
    """Without us the application counts in its folder: a file for each worker and type."""
    need("gunicorn")
    folder = tmp_path / "metrics"
    with serving(model(COMMAND, folder), tmp_path, Shop) as served:
        by = work_by_two(served, FIRST)
        assert_true(served, truth(served.answered))
        files = set(os.listdir(folder))
        assert {f"{kind}_{pid}.db" for kind in ("counter", "histogram") for pid in by} <= files
        assert "counter_1.db" not in files
        assert "shop_build_info" not in served.get("/metrics")[1]  # Info is what it lacks


def test_exact(tmp_path: Path) -> None:
    """Under `mpmetrics run` it is right over a kill and a reload, with Info and Enum, and writes
    nothing to its folder."""
    need("gunicorn")
    folder = tmp_path / "metrics"
    with serving(model(f"mpmetrics run -- {COMMAND}", folder), tmp_path, Shop) as served:
        gone = work_by_two(served, FIRST)
        assert_true(served, truth(served.answered) | OWN)
        victim = served.kill_one(gone)
        served.settle()
        gone |= work_by_two(served, LATER)
        assert_true(served, truth(served.answered) | OWN, frozenset({victim}))
        os.kill(served.child.pid, signal.SIGHUP)
        assert wait_until(lambda: len(served.pages().keys() - gone) >= 2, PATIENCE)
        assert wait_until(lambda: not any(map(alive, gone)), PATIENCE)
        served.settle()
        again = work_by_two(served, LATER)
        assert again.isdisjoint(gone)
        assert_true(served, truth(served.answered) | OWN, frozenset(gone))
        assert [] == os.listdir(folder)
