"""What a process counts privately because, just then, somebody else had its store's lock for long.

It tries again in a second, when it is scraped, and when it ends; os._exit is no end that it sees.
"""

from __future__ import annotations

import time

from tests.programs import LIMIT

WARNING = "some metrics count in this process's own memory until they can be shared"


def share() -> None:
    """Returns once this process counts nothing privately: it may go, or somebody may look."""
    from mpmetrics import store

    deadline = time.monotonic() + LIMIT
    while store.current().settle():
        assert time.monotonic() < deadline, "the store's lock can't be had"
        time.sleep(0.01)
