"""Celery: every child's page shows what all of them did, also after one was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from examples.rig.processes import Child, wait_until
from tests.programs import Program
from tests.servers import driver, models

pytestmark = pytest.mark.slow


class Worker:
    """A Celery worker that runs, and a client that asks it."""

    def __init__(self, child: Child | Detached, client: Program) -> None:
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


DETACHED = "Celery --detach"
ATTACHED = {name: model for name, model in models.CELERY.items() if name != DETACHED}


def prepare(model: driver.Model, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What to start in that folder."""
    driver.need("celery")
    for name in ("app.py", "tasks.py", "client.py"):
        shutil.copy(Path(__file__).with_name(name), folder / name)
    for name in ("queue", "control", "results"):
        (folder / name).mkdir()
    words, env = driver.command_of(model, 0, folder)
    env["TASKS_FOLDER"] = str(folder)
    return [*words, "--loglevel", "INFO"], env


def prove(worker: Worker) -> str:
    worker.pages()  # both are there; else one may be done before the other has imported all
    by = worker.work(driver.FIRST)
    for pid, text in worker.pages().items():
        driver.assert_true(driver.FIRST, pid, text)
    # Within a task: between two it may hold billiard's lock (docs/servers.md).
    assert "WorkerLostError" in str(worker.ask("end", 1))
    worker.pages()
    again = worker.work(driver.LATER)
    assert not again <= by
    for pid, text in worker.pages().items():
        driver.assert_true(driver.FIRST + driver.LATER, pid, text)
    os.kill(worker.child.pid, signal.SIGTERM)
    ended = wait_until(lambda: not worker.child.is_running(), driver.PATIENCE)
    assert ended, worker.child.last_words()
    worker.client.finish()
    total = driver.FIRST + driver.LATER
    return f"{driver.FIRST} of {driver.FIRST}, then {total} of {total}"


@pytest.mark.parametrize("model", ATTACHED.values(), ids=ATTACHED)
def test_exact(model: driver.Model, tmp_path: Path, proved: Callable[[str], None]) -> None:
    """300 tasks are 300 on the page of each child; 100 after a SIGKILL make 400."""
    words, env = prepare(model, tmp_path)
    with (
        Child(words, log=tmp_path / "log", env=env) as child,
        Program([tmp_path / "client.py"], env) as client,
    ):
        proved(prove(Worker(child, client)))


class Detached:
    """A worker that is nobody's child; `with` ends it, and its children with it, if it runs."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        pid_file = folder / "worker.pid"
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text(), driver.PATIENCE)
        self.pid = int(pid_file.read_text())
        self.group = os.getpgid(self.pid)

    def is_running(self) -> bool:
        return driver.alive(self.pid)

    def last_words(self) -> str:
        return self.log.read_text()[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(ProcessLookupError):
            if self.is_running() and os.getpgid(self.pid) == self.group:
                os.killpg(self.group, signal.SIGKILL)


@pytest.mark.parametrize("model", [models.CELERY[DETACHED]], ids=[DETACHED])
def test_exact_detached(model: driver.Model, tmp_path: Path, proved: Callable[[str], None]) -> None:
    """So they are where the worker has become another program, which only has the environment."""
    words, env = prepare(model, tmp_path)
    subprocess.run(words, cwd=tmp_path, env=env, timeout=driver.PATIENCE, check=True)
    with Detached(tmp_path) as worker, Program([tmp_path / "client.py"], env) as client:
        proved(prove(Worker(worker, client)))
