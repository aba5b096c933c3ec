"""A program that has no descriptor left when it first counts; for test_scarce.py."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from typing import Any

from mpmetrics import store

from .basics import call, have, page
from .logged import Lines

_MOST = 64  # descriptors


@contextlib.contextmanager
def _none_left() -> Iterator[None]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST, hard))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for fd in taken:
            os.close(fd)


def declared() -> dict[str, Any]:
    """What is shown of a metric that was declared then, by a process and its fork."""
    log = Lines()
    with _none_left():
        have("Counter", "jobs", ["jobs", "h", ["a"]])
        call("jobs", ["1"], "inc")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                call("jobs", ["1"], "inc")
                call("jobs", ["2"], "inc")
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
    return {"page": page(), "path": store.current().path, "log": log.said}
