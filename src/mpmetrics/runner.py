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
from collections.abc import Iterable, Iterator, Sequence

from . import listening, store as stores, storefile
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
_AWAITED = (*_FORWARDED, signal.SIGCHLD)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # which a command doesn't expect
_OF_THE_KERNEL = 0x80  # SI_KERNEL: a terminal sent it, to its whole foreground group
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it


def run(
    command: Sequence[str],
    store: Store,
    path: str,
    *,
    made_up: bool,
    listen: tuple[str, int] | None = None,
    patch: bool = True,
    user: int | None = None,
) -> int:
    """
    Runs the command to its end; returns its status, 128 + n if signal n ended it.

    `store` is held until then; if its name was `made_up` the file goes with the last who has it.
    `patch`: Python programs below have our classes for prometheus_client's. `user`: whom the store
    was given to.
    """
    environment = {**os.environ, "MPMETRICS_STORE": path}
    stores.hold(store)  # or the fork of the command would make another
    for served_here in (listening.VARIABLE, listening.WHOSE):
        environment.pop(served_here, None)
    if user is not None:
        environment[storefile.GIVEN_TO] = str(user)
    _unpatch(environment)  # of a run around this one
    if patch:
        _patch(environment)
    # Blocked for good, in every thread: `_wait` asks for them, so none is lost. Before the threads
    # of the endpoint, which inherit that, and SIGCHLD not ignored, which would lose the status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    try:
        if listen is not None:  # first: a port that is taken is an error, and nothing has begun
            start_http_server(listen[1], listen[0], StoreReader(path))
        return _wait(_start(command, environment, before))
    finally:
        store.detach()
        if made_up:
            storefile.remove_if_unused(path)


@contextlib.contextmanager
def acting_as(user: int | None, group: int | None) -> Iterator[None]:
    """
    Whatever is made or removed within belongs to that user and group.

    By the effective ids, not by chown: so root writes nowhere where the user could not.
    """
    effective = os.geteuid(), os.getegid()
    try:
        if group is not None and effective[0] == 0:
            os.setegid(group)
        if user is not None:
            os.seteuid(user)
        yield
    finally:
        os.seteuid(effective[0])
        os.setegid(effective[1])


_AUTOPATCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "autopatch")


def _patch(environment: dict[str, str]) -> None:
    """As opentelemetry-instrument does: a folder whose sitecustomize every Python finds first."""
    before = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = _AUTOPATCH + (os.pathsep + before if before else "")
    environment["MPMETRICS_PATCH"] = "1"


def _unpatch(environment: dict[str, str]) -> None:
    """What `_patch` did, undone."""
    environment.pop("MPMETRICS_PATCH", None)
    entries = environment.get("PYTHONPATH", "").split(os.pathsep)
    others = os.pathsep.join(entry for entry in entries if entry != _AUTOPATCH)
    if others:
        environment["PYTHONPATH"] = others
    else:
        environment.pop("PYTHONPATH", None)


def _start(command: Sequence[str], environment: dict[str, str], mask: Iterable[int]) -> int:
    child = os.fork()
    if child != 0:
        return child
    status = _NOT_FOUND
    try:
        for number in _IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvpe(command[0], list(command), environment)
    except OSError as error:
        print(f"mpmetrics: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        if error.errno != errno.ENOENT:
            status = _NOT_EXECUTABLE
    finally:
        os._exit(status)


def _wait(child: int) -> int:
    """Passes signals on until the command has ended; returns its status."""
    while True:
        signalled = signal.sigwaitinfo(_AWAITED)
        if signalled.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status
        else:
            with contextlib.suppress(ProcessLookupError):
                # Ctrl-C: the terminal told the command, too, if it is still of our group.
                if signalled.si_code != _OF_THE_KERNEL or os.getpgid(child) != os.getpgrp():
                    os.kill(child, signalled.si_signo)


def _reap(child: int) -> int | None:
    """Reaps what has ended, which as process 1 is also what others left behind."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    return found
