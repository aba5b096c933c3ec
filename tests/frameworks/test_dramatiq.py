"""dramatiq's own middleware, unmodified, by `mpmetrics run`: exact over two processes.

It sets PROMETHEUS_MULTIPROC_DIR itself, makes its registry in a function of each worker, and serves
the page in a process that declares nothing. When a worker is killed it ends; a supervisor starts it
again.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from examples.rig import page as pages
from examples.rig.processes import Child, wait_until
from tests.frameworks.libraries import DRAMATIQ
from tests.frameworks.proof import (
    APPS,
    FIRST,
    LATER,
    OPENMETRICS,
    OWN,
    assert_traced,
    fetch,
    free_ports,
    need,
)
from tests.frameworks.table import TABLE
from tests.guides.test_frameworks import redis
from tests.programs import Program
from tests.servers.driver import PATIENCE, Model, command_of, need as need_program

pytestmark = pytest.mark.slow

LABELS = '{actor_name="work",queue_name="default"}'
CLIENT = """\
import sys
import dramatiq_app

for line in sys.stdin:
    for _ in range(int(line)):
        dramatiq_app.work.send()
    print("sent", flush=True)
"""
# A supervisor: it begins again until it is told to end.
AGAIN = 'trap "exit 0" TERM; while true; do "$@" & wait $!; wait; done'


def truth(messages: int) -> dict[str, float]:
    done = float(messages)
    return {
        **OWN,
        "shop_jobs_total": done,
        f"dramatiq_messages_total{LABELS}": done,
        f"dramatiq_message_duration_milliseconds_count{LABELS}": done,
        f"dramatiq_messages_inprogress{LABELS}": 0.0,
    }


class Shop:
    """dramatiq that runs, and who sends it messages."""

    def __init__(self, child: Child, client: Program, ports: tuple[int, int]) -> None:
        self.child = child
        self.client = client
        self.ports = ports
        self.sent = 0

    def send(self, messages: int) -> None:
        self.client.say(str(messages))
        assert "sent" == self.client.read_line()
        self.sent += messages

    def shown(self, port: int) -> dict[str, float]:
        """What a page says of the truth; nothing while nobody serves it."""
        try:
            page = pages.read(fetch(port, "/"))
        except OSError:
            return {}
        return {name: page[name] for name in truth(0) if name in page}

    def assert_true(self) -> None:
        """Both pages say what is true, once every message was answered for."""
        must = truth(self.sent)
        for port in self.ports:
            wait_until(lambda port=port: self.shown(port) == must, PATIENCE)
            assert must == self.shown(port), self.child.last_words()
        assert_traced("shop_jobs_total", self.sent, fetch(self.ports[1], "/", OPENMETRICS))


def workers_of(child: Child) -> set[int]:
    """dramatiq's worker processes, as they say which they are when they begin."""
    lines = child.log.read_text().splitlines()
    ready = [line for line in lines if "Worker process is ready for action" in line]
    return {int(line.split("[PID ")[1].split("]")[0]) for line in ready}


def test_exact(tmp_path: Path) -> None:
    """40 messages are 40 on dramatiq's own page and on that of `run --listen`.

    A worker is killed, dramatiq ends and is started again; 20 more make 60. Nothing is written to
    the folder that it makes."""
    need("dramatiq")
    need_program("dramatiq")
    files = tmp_path / "files"
    listen, port = free_ports()
    for name in ("dramatiq_app.py", "own.py"):
        (tmp_path / name).write_text((APPS / name).read_text())
    (tmp_path / "client.py").write_text(CLIENT)
    with redis(tmp_path) as broker:
        words, env = command_of(Model(DRAMATIQ), port, tmp_path)
        env |= {
            "REDIS_URL": f"redis://127.0.0.1:{broker}/0",
            "dramatiq_prom_db": str(files),
            "dramatiq_prom_host": "127.0.0.1",
            "dramatiq_prom_port": str(port),
        }
        run, _ = command_of(Model(f"mpmetrics run --listen 127.0.0.1:{listen} --"), 0, tmp_path)
        here = ["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path)]
        with (
            Child(
                [*here, *run, "sh", "-c", AGAIN, "sh", *words], log=tmp_path / "log", env=env
            ) as child,
            Program([tmp_path / "client.py"], env) as client,
        ):
            shop = Shop(child, client, (port, listen))
            assert wait_until(lambda: len(workers_of(child)) == 2, PATIENCE), child.last_words()
            shop.send(FIRST)
            shop.assert_true()
            first = workers_of(child)
            os.kill(min(first), signal.SIGKILL)
            assert wait_until(lambda: len(workers_of(child) - first) == 2, PATIENCE)
            shop.send(LATER)
            shop.assert_true()
            assert [] == os.listdir(files)
            client.finish()
    TABLE.proved["dramatiq"] = f"{FIRST} of {FIRST}, then {shop.sent} of {shop.sent}"
