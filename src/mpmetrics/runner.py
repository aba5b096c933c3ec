"""`mpmetrics run`: a command, and everything below it, with one store.

The runner holds the store while the command runs, so workers may come and go; it passes signals on,
and reaps orphans where it is process 1 of a container.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence

from . import storefile
from ._native import Store
from .endpoints import start_http_server
from .reader import StoreReader

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it


def run(
    command: Sequence[str],
    store: Store,
    path: str,
    *,
    made_up: bool,
    listen: tuple[str, int] | None = None,
    patch: bool = True,
) -> int:
    """
    Runs the command to its end; returns its status, 128 + n if signal n ended it.

    `store` is held until then; if its name was `made_up` the file goes with the last who has it.
    `patch`: Python programs below have our classes for prometheus_client's.
    """
    environment = {**os.environ, "MPMETRICS_STORE": path}
    if patch:
        _patch(environment)
    # Blocked until it is known whom to pass them on to: none is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    child = _start(command, environment)
    for number in _FORWARDED:
        signal.signal(number, lambda number, frame: _pass_on(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    if listen is not None:
        start_http_server(listen[1], listen[0], StoreReader(path))
    try:
        return _wait(child)
    finally:
        store.detach()
        if made_up:
            storefile.remove_if_unused(path)


def _patch(environment: dict[str, str]) -> None:
    """As opentelemetry-instrument does: a folder whose sitecustomize every Python finds first."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "autopatch")
    before = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = folder + (os.pathsep + before if before else "")
    environment["MPMETRICS_PATCH"] = "1"


def _start(command: Sequence[str], environment: dict[str, str]) -> int:
    child = os.fork()
    if child != 0:
        return child
    status = _NOT_FOUND
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        os.execvpe(command[0], list(command), environment)
    except OSError as error:
        print(f"mpmetrics: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        if error.errno != errno.ENOENT:
            status = _NOT_EXECUTABLE
    finally:
        os._exit(status)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _wait(child: int) -> int:
    """Reaps whatever ends, which as process 1 is also what others left behind."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
