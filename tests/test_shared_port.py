"""start_http_server(port, shared=True): workers that all run that line, and one port."""

from __future__ import annotations

import os
import time
import urllib.request

import pytest
from tests.programs import LIMIT, Program, environment
from tests.servers.driver import free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

# Counts, and serves if it can; forks, ends or goes on as it is told.
WORKER = """\
import os, sys, time
from mpmetrics import Counter, start_http_server
Counter("jobs", "Jobs done.").inc()
server, thread = start_http_server(int(sys.argv[1]), "127.0.0.1", shared=True)
print("waits" if server is None else "serves", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    print(pid, flush=True)
"""


def scrape(port: int) -> str:
    """A page, as soon as somebody serves."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_others_take_over(store):
    """One serves; when it is killed, another one does, although a child of its lives on."""
    port = free_port()
    command = ["-c", WORKER, str(port)]
    with Program(command, environment(store)) as first:
        assert "serves" == first.read_line()
        with Program(command, environment(store)) as second:
            assert "waits" == second.read_line()
            assert "jobs_total 2.0" in scrape(port)
            first.say("fork")
            child = int(first.read_line())
            os.kill(first.pid, 9)
            assert "jobs_total 2.0" in scrape(port)
            os.kill(child, 0)  # it lives
            second.kill()


def test_other_errors_are_raised():
    """An address that isn't ours is an error, shared or not."""
    code = (
        "from mpmetrics import start_http_server\n"
        "try: start_http_server(9, '192.0.2.1', shared=True)\n"
        "except OSError as error: print('refused')\n"
    )
    with Program(["-c", code], environment()) as program:
        assert "refused" == program.read_line()
