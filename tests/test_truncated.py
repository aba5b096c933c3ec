"""A store that is used, and truncated just while a program of ours has it mapped and looks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from tests.programs import LIMIT, Program, environment
from tests.servers.driver import free_port

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

MEMBER = """\
from mpmetrics import Counter
JOBS = Counter("jobs", "Jobs done.", ["kind"])
for i in range(1000):
    JOBS.labels(str(i)).inc()
print("ready", flush=True)
input()
"""

# Truncates the store once `{when}` has given its answer; then does what the arguments say.
CUTTING = """\
import os, sys
from mpmetrics import __main__, reader, storefile
then = {when}
def when_cut(*arguments):
    answer = then(*arguments)
    if os.path.exists(sys.argv[1]):
        os.truncate(sys.argv[1], 0)
        os.unlink(sys.argv[1])
    return answer
{when} = when_cut
sys.exit(__main__.main(sys.argv[2:]))
"""


def cut(when: str, store: os.PathLike[str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CUTTING.format(when=when), str(store), *words],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "when"),
    [
        (["dump"], "reader.look"),
        (["dump", "--by-process"], "reader.look"),
        (["check"], "storefile.join_existing"),
    ],
    ids=["dump", "by-process", "check"],
)
def test_looked_at_once(store, command, when):
    """An error that says so, and nothing printed of what was read; no SIGBUS."""
    with Program(["-c", MEMBER], environment(store)) as member:
        member.read_line()
        ended = cut(when, store, *command, str(store))
        member.kill()  # by now its store is gone: it would die of SIGBUS

    assert (1, "") == (ended.returncode, ended.stdout)
    assert ended.stderr.startswith("mpmetrics: ")
    assert "truncated while it was read" in ended.stderr
    assert 1 == len(ended.stderr.splitlines())


def test_served(store):
    """The scrape in which that is found fails; the server lives, and serves the next store."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    serve = CUTTING.format(when="reader.StoreReader._current")
    words = ["serve", "--listen", f"127.0.0.1:{port}", str(store)]
    with Program(["-c", MEMBER], environment(store)) as member:
        member.read_line()
        with Program(["-c", serve, str(store), *words], environment()) as server:
            server.read_line()
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(url, timeout=LIMIT)
            refused.value.close()
            with urllib.request.urlopen(url, timeout=LIMIT) as answer:
                after = answer.read().decode()
            os.kill(server.pid, signal.SIGINT)
            said = server.finish(check=False)
        member.kill()

    assert 500 == refused.value.code
    assert "" == after
    assert "the store was truncated while it was read" in said


def test_an_application_is_left_its_signal():
    """Only the command line takes SIGBUS: what a program does at it stays the program's."""
    code = (
        "import re\n"
        "def is_caught():\n"
        "    mask = re.search('SigCgt:\\t(.*)', open('/proc/self/status').read())[1]\n"
        f"    return int(mask, 16) >> ({int(signal.SIGBUS)} - 1) & 1\n"
        "before = is_caught()  # by a sanitizer\n"
        "import mpmetrics\n"
        "mpmetrics.Counter('c', 'h').inc()\n"
        "mpmetrics.generate_latest()\n"
        "print(before, is_caught())\n"
    )
    with Program(["-c", code], environment()) as program:
        before, after = program.finish().split()

    assert before == after
