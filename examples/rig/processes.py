"""
Programs started for the demo: each in a process group of its own, ended by its own id.

Every wait has a bound. Nothing here looks for processes by name.
"""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
C = TypeVar("C", bound="Child")


class Stopped(Exception):
    """The user asked us to stop while we were waiting for something."""


def wait_until(
    ask: Callable[[], T | None],
    seconds: float,
    *,
    every: float = 0.05,
    stop: threading.Event | None = None,
) -> T | None:
    """The first answer that is true, or the last one after `seconds`. Stopped if `stop` is set."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer or time.monotonic() > deadline:
            return answer
        if stop is None:
            time.sleep(every)
        elif stop.wait(every):
            raise Stopped


def wait_for(ask: Callable[[], T], wanted: T, seconds: float, *, every: float = 0.05) -> T:
    """The answer, once it is `wanted`, or else the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while (answer := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(every)
    return answer


def free_port() -> int:
    """A port that is free now, of those that no outgoing connection is given by chance."""
    while True:
        port = random.randint(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Child:
    """A running program; `with` ends it, and whatever it has started, on every way out."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            # A session of its own: Ctrl-C reaches us alone, and we end the group when we are done.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def is_running(self) -> bool:
        """Whether the program runs. It isn't reaped, so its id, and its group's, stay its own."""
        # Not Popen.poll(): it reaps, and killpg might then hit a group that came after.
        if self.status is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    @property
    def status(self) -> int | None:
        """Its exit status, negative if a signal ended it; None before `end`."""
        return self._process.returncode

    def last_words(self, lines: int = 20) -> str:
        """The end of what the program wrote, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def end(self, grace: float = 5.0) -> None:
        """Ask it to end; when it has, or after `grace` seconds, kill what is left of its group."""
        if self.status is not None:
            return
        if self.is_running():
            os.kill(self.pid, signal.SIGTERM)
            wait_until(lambda: not self.is_running(), grace)
        os.killpg(self.pid, signal.SIGKILL)  # the leader is unreaped, so the group is still ours
        self._process.wait(max(grace, 30.0))  # how long that takes is not up to it

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
