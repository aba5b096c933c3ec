"""Servers started as docs/servers.md says, asked over HTTP, and ended by their own process ids.

A `Model` is one row of the table there. Its command is what one types; only the address, the
folder and the way to the programs of this environment are put in.
"""

from __future__ import annotations

import http.client
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from examples.rig import page as pages
from examples.rig.processes import Child, free_port, wait_until
from tests.programs import environment

BIN = Path(sys.executable).parent
PATIENCE = 40.0  # seconds
AT_ONCE = 8  # requests
FIRST, LATER = 300, 100


@dataclass(frozen=True)
class Model:
    """A server, or a pool, as one starts it. `8000` is its port, `/dev/shm/shop` a store's path."""

    command: str
    workers: str = "2"  # that serve, as the table says it
    replaces: bool = True  # a worker that was killed
    stop: signal.Signals = signal.SIGTERM
    files: Mapping[str, str] = field(default_factory=dict)  # beside the application
    variables: Mapping[str, str] = field(default_factory=dict)
    module: str = "app"  # that is served


def truth(events: int) -> dict[str, float]:
    """What a page must say after so many requests or tasks."""
    return {
        "requests_total": float(events),
        "seconds_count": float(events),
        "seconds_sum": 0.25 * events,
        'seconds_bucket{le="0.2"}': 0.0,
        'seconds_bucket{le="0.5"}': float(events),
        'seconds_bucket{le="+Inf"}': float(events),
        "level": 2.0 * events,
    }


def shown(text: str) -> dict[str, float]:
    """What a page says of the same."""
    values = pages.read(text)
    return {name: values[name] for name in truth(0) if name in values}


def assert_true(events: int, pid: int, text: str) -> None:
    """The page of this process says what is true."""
    assert truth(events) == shown(text), f"{pid}: {shown(text)} is not {truth(events)}"


def need(*programs: str) -> None:
    """Skips the test where a program that it is about isn't installed."""
    for program in programs:
        if not (BIN / program).exists():
            pytest.skip(f"{program} isn't installed: pip install '.[servers]'")


def substituted(text: str, port: int, folder: Path) -> str:
    return text.replace("8000", str(port)).replace("/dev/shm/shop", str(folder / "store"))


def command_of(model: Model, port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    """What to start, and in which environment."""
    words = shlex.split(substituted(model.command, port, folder))
    variables = dict(model.variables)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    if words[0] == "mpmetrics":
        words[:1] = [sys.executable, "-m", "mpmetrics"]
    elif words[0] == "python":
        words[0] = sys.executable
    else:
        words[0] = str(BIN / words[0])
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # uvicorn kills a worker that doesn't answer in 5 s. Nor is it much more: for the answer of one
    # that we kill, when it has just been asked, uvicorn waits as long.
    variables.setdefault("UVICORN_TIMEOUT_WORKER_HEALTHCHECK", "15")
    env = environment(PATH=path, PYTHONUNBUFFERED="1", **variables)
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(folder)])
    return words, env


class Served:
    """A server that runs, and how many requests it has answered."""

    work_path = "/work"

    def __init__(self, child: Child, port: int, folder: Path) -> None:
        self.child = child
        self.port = port
        self.folder = folder
        self.answered = 0
        self.by: set[int] = set()  # workers that answered

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, str]:
        """The worker, and what it answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode()
            assert 200 == response.status, text
            return int(response.headers["X-Pid"]), text
        finally:
            connection.close()

    def wait_ready(self) -> None:
        def answers() -> bool:
            assert self.child.is_running(), self.child.last_words()
            try:
                return bool(self.get("/metrics", timeout=2.0))
            # A 500, too: prometheus_client's workers read each other's half-made files at first.
            except (OSError, http.client.HTTPException, AssertionError):
                return False

        assert wait_until(answers, PATIENCE), self.child.last_words()

    def work(self, requests: int) -> set[int]:
        """So many requests, each answered; the workers that answered them."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            by = {pid for pid, _ in pool.map(self.get, [self.work_path] * requests)}
        self.answered += requests
        return by

    def work_by_two(self, requests: int) -> set[int]:
        """The same, the first of them in turns until two workers have answered one."""
        by: set[int] = set()
        left = requests
        deadline = time.monotonic() + PATIENCE
        while left and len(by) < 2 and time.monotonic() < deadline:
            if by:  # the second may not get to run yet: so many turns as there are fill the time
                time.sleep(PATIENCE * AT_ONCE / requests)
            turn = min(left, AT_ONCE)
            by |= self.work(turn)
            left -= turn
        by |= self.work(left)
        assert len(by) >= 2, f"only one worker answered:\n{self.child.last_words()}"
        return by

    def pages(self, at_least: int = 2, without: frozenset[int] = frozenset()) -> dict[int, str]:
        """A page of each worker: of so many, none of them one of these."""
        found: dict[int, str] = {}

        def enough() -> bool:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                found.update(pool.map(self.get, ["/metrics"] * AT_ONCE))
            for pid in without:
                found.pop(pid, None)
            return len(found) >= at_least

        assert wait_until(enough, PATIENCE), self.child.last_words()
        return found

    def kill_one(self, by: set[int]) -> int:
        """SIGKILL to one of these workers, which must be of our session."""

        def killed() -> int | None:  # with max_requests they may all have been replaced since
            for pid in sorted(by if any(map(alive, by)) else self.pages()):
                with suppress(ProcessLookupError):
                    if alive(pid) and is_ours(pid, self.child):
                        os.kill(pid, signal.SIGKILL)
                        return pid
            return None

        victim = wait_until(killed, PATIENCE)
        assert victim is not None, self.child.last_words()
        assert wait_until(lambda: not alive(victim), PATIENCE)
        return victim

    def settle(self) -> None:
        """Returns when new connections are answered again, one after the other, by workers."""

        def two_answer() -> bool:
            try:
                return len(self.pages()) >= 2
            except (OSError, http.client.HTTPException, AssertionError):  # as in wait_ready
                return False

        assert wait_until(two_answer, PATIENCE), self.child.last_words()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def is_ours(pid: int, child: Child) -> bool:
    """Raises ProcessLookupError if it is gone."""
    return os.getsid(pid) == child.pid


@contextmanager
def serving(model: Model, folder: Path, kind: type[Served] = Served) -> Iterator[Served]:
    """The server, until the end of the block; then it ends by itself, and with status 0."""
    port = free_port()
    shutil.copy(Path(__file__).with_name("app.py"), folder / "app.py")
    for name, text in model.files.items():
        (folder / name).write_text(substituted(text, port, folder))
    words, env = command_of(model, port, folder)
    here = ["sh", "-c", 'cd "$0" && exec "$@"', str(folder), *words]
    with Child(here, log=folder / "log", env=env) as child:
        served = kind(child, port, folder)
        served.wait_ready()
        served.settle()  # else the first worker may be done before the second has started
        yield served
        if child.is_running():
            os.kill(child.pid, model.stop)
            wait_until(lambda: not child.is_running(), PATIENCE)
            assert not child.is_running(), f"doesn't end:\n{child.last_words()}"


def prove(model: Model, folder: Path, kill: Callable[[Served, set[int]], int] | None = None) -> str:
    """The whole proof of one model; what the table says of it."""
    with serving(model, folder) as served:
        by = served.work_by_two(FIRST)
        for pid, text in served.pages().items():
            assert_true(FIRST, pid, text)
        if not model.replaces:
            return f"{FIRST} of {FIRST} by {len(by)} workers"
        victim = (kill or Served.kill_one)(served, by)
        served.settle()
        again = served.work_by_two(LATER)
        assert victim not in again
        for pid, text in served.pages(without=frozenset({victim})).items():
            assert_true(FIRST + LATER, pid, text)
        return f"{FIRST} of {FIRST}, then {FIRST + LATER} of {FIRST + LATER}"
