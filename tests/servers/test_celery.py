"""Celery: every child's page shows what all of them did, also after one was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from examples.rig.processes import Child, wait_until
from tests.programs import Program
from tests.servers import driver, models

pytestmark = pytest.mark.slow


class Worker:
    """A Celery worker that runs, and a client that asks it."""

    def __init__(self, child: Child, client: Program) -> None:
        self.child = child
        self.client = client

    def ask(self, task: str, count: int) -> list[object]:
        self.client.say(f"{task} {count}")
        return list(json.loads(self.client.read_line()))

    def work(self, tasks: int) -> set[int]:
        by = {pid for pid in self.ask("work", tasks) if isinstance(pid, int)}
        assert len(by) >= 2, f"only one child worked:\n{self.child.last_words()}"
        return by

    def pages(self) -> dict[int, str]:
        """A page of two children."""
        found: dict[int, str] = {}

        def enough() -> bool:
            found.update(dict(self.ask("page", 4)))  # type: ignore[call-overload]
            return len(found) >= 2

        assert wait_until(enough, driver.PATIENCE), self.child.last_words()
        return found


@pytest.mark.parametrize("model", models.CELERY.values(), ids=models.CELERY)
def test_exact(model: driver.Model, tmp_path: Path, proved: Callable[[str], None]) -> None:
    """300 tasks are 300 on the page of each child; 100 after a SIGKILL make 400."""
    driver.need("celery")
    for name in ("app.py", "tasks.py", "client.py"):
        shutil.copy(Path(__file__).with_name(name), tmp_path / name)
    for name in ("queue", "control", "results"):
        (tmp_path / name).mkdir()
    words, env = driver.command_of(model, 0, tmp_path)
    env["TASKS_FOLDER"] = str(tmp_path)
    with (
        Child([*words, "--loglevel", "INFO"], log=tmp_path / "log", env=env) as child,
        Program([tmp_path / "client.py"], env) as client,
    ):
        worker = Worker(child, client)
        by = worker.work(driver.FIRST)
        for pid, text in worker.pages().items():
            driver.assert_true(driver.FIRST, pid, text)
        assert "WorkerLostError" in str(worker.ask("end", 1))
        again = worker.work(driver.LATER)
        assert not again <= by
        for pid, text in worker.pages().items():
            driver.assert_true(driver.FIRST + driver.LATER, pid, text)
        os.kill(child.pid, signal.SIGTERM)
        assert wait_until(lambda: not child.is_running(), driver.PATIENCE), child.last_words()
        client.finish()
    total = driver.FIRST + driver.LATER
    proved(f"{driver.FIRST} of {driver.FIRST}, then {total} of {total}")
