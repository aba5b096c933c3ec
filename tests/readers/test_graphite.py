"""The graphite bridge sends what all processes counted."""

from __future__ import annotations

import re
import socket
import time

import pytest
from tests.programs import run
from tests.readers.expected import samples

pytestmark = pytest.mark.usefixtures("nothing_left")


def path(name: str, labels: dict[str, str], tags: bool) -> str:
    """A sample as graphite names it."""
    between, is_ = (";", "=") if tags else (".", ".")
    words = [f"{key}{is_}{re.sub(r'[^a-zA-Z0-9_-]', '_', labels[key])}" for key in sorted(labels)]
    return "shop." + between.join([name, *words])


@pytest.mark.parametrize("tags", [False, True], ids=["path", "tags"])
@pytest.mark.parametrize("which", ["default", "named"])
def test_sent(method: str, which: str, tags: bool) -> None:
    """Every sample, with the totals of all processes and the time of the push."""
    before = int(time.time())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # What it sends waits in the socket until we look.
        run("tests.readers.reading:send", method, port, which, tags)
        listening.settimeout(10)
        connection, _ = listening.accept()
        with connection, connection.makefile() as lines:
            sent = [line.split() for line in lines]

    crew = [line for line in sent if line[0].startswith("shop.crew_") and "_created" not in line[0]]
    assert {path(name, labels, tags): value for name, labels, value in samples(which)} == {
        name: float(value) for name, value, _ in crew
    }
    assert {True} == {before <= int(when) <= time.time() for _, _, when in crew}
