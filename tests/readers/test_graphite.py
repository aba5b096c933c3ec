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


def received(listening: socket.socket) -> list[list[str]]:
    """The words of each line of the next connection."""
    connection, _ = listening.accept()
    with connection, connection.makefile() as lines:
        return [line.split() for line in lines]


def test_sent(method: str) -> None:
    """Every sample, with the totals of all processes and the time of the push."""
    before = int(time.time())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        # What it sends waits in the socket until we look.
        run("tests.readers.reading:send", method, listening.getsockname()[1])
        after = time.time()
        for which in ("default", "named"):
            for tags in (False, True):
                truth = {path(name, labels, tags): v for name, labels, v in samples(which)}
                sent = [line for line in received(listening) if re.match("shop.crew_", line[0])]
                sent = [line for line in sent if "_created" not in line[0]]
                assert truth == {name: float(value) for name, value, _ in sent}
                assert {True} == {before <= int(when) <= after for _, _, when in sent}
