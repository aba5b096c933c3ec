"""gunicorn reloads an application whose metrics are declared otherwise in the new version."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.programs import LIMIT, Program, environment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nothing_left")]

WORKERS = 2
APP = """\
import os
from mpmetrics import Counter, Histogram, StoreCollector, make_wsgi_app

KEPT = Counter("kept", "The same in both versions.")
JOBS = Counter("jobs", {help!r}, {labelnames!r})
SECONDS = Histogram("seconds", "Other buckets.", buckets={buckets!r})
StoreCollector()
serve = make_wsgi_app()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return serve(environ, start_response)
    KEPT.inc()
    JOBS.labels(*{labelvalues!r}).inc()
    SECONDS.observe(3.0)
    start_response("200 OK", [("X-Version", {version!r}), ("X-Pid", str(os.getpid()))])
    return [b""]
"""
OLD = {
    "version": "old",
    "help": "Jobs of the old.",
    "labelnames": ["color"],
    "labelvalues": ["red"],
    "buckets": [1, 2],
}
NEW = {
    "version": "new",
    "help": "Jobs of the new.",
    "labelnames": ["size", "shape"],
    "labelvalues": ["big", "round"],
    "buckets": [5, 10, 20],
}
CONFIGURATION = f"""\
wsgi_app = "reloaded:app"
workers = {WORKERS}
control_socket_disable = True
"""


@dataclass
class Server:
    """gunicorn with the application in `folder`."""

    folder: Path
    address: tuple[str, int]
    program: Program
    jobs: int = 0  # that were answered

    def write(self, version: dict[str, object]) -> None:
        new = self.folder / "reloaded.new"
        new.write_text(APP.format(**version))
        new.rename(self.folder / "reloaded.py")

    def get(self, path: str) -> tuple[http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(*self.address, timeout=LIMIT)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200, text
            return response.headers, text
        finally:
            connection.close()

    def job(self) -> tuple[str, str]:
        """Has one job done; which version did it, and which process."""
        headers, _ = self.get("/job")
        self.jobs += 1
        return headers["X-Version"], headers["X-Pid"]

    def page(self) -> dict[str, float]:
        values = {}
        for line in self.get("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if line and not line.startswith("#"):
                values[name] = float(value)
        return values

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextmanager
def serving(
    folder: Path, *, preload: bool, store: Path | None, persist: bool = True
) -> Iterator[Server]:
    configuration = folder / "gunicorn.conf.py"
    configuration.write_text(CONFIGURATION + f"preload_app = {preload}\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = ["-m", "gunicorn", "-c", str(configuration), "--chdir", str(folder)]
        command += ["--bind", f"fd://{listener.fileno()}", "--log-file", str(folder / "log")]
        # The new version may be as long, and as old to the second, as what is in the cache.
        env = environment(store, PYTHONDONTWRITEBYTECODE="1", MPMETRICS_PERSIST=str(int(persist)))
        server = Server(folder, listener.getsockname()[:2], program=None)  # type: ignore[arg-type]
        server.write(OLD)
        with Program(command, env, pass_fds=[listener.fileno()]) as program:
            server.program = program
            yield server
            os.kill(program.pid, signal.SIGTERM)
            program.finish()
    assert "Worker failed to boot" not in server.log()
    assert "Traceback" not in server.log()
    assert "Exception" not in server.log()


def wait_until(true: Callable[[], bool], server: Server) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.01)


def children_of(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def replaced(server: Server, before: set[str]) -> bool:
    now = children_of(server.program.pid)
    return len(now) == WORKERS and not now & before


def reload(server: Server) -> None:
    """HUP, and waits for new workers in the place of the old; works while it waits."""
    before = children_of(server.program.pid)

    def working() -> bool:
        server.job()
        server.page()
        return replaced(server, before)

    os.kill(server.program.pid, signal.SIGHUP)
    wait_until(working, server)


@pytest.mark.parametrize("persist", [True, False])
def test_reload_with_other_metrics(tmp_path, store, persist):
    """After HUP no worker fails to boot, and the new help, buckets and labels are scraped.

    With MPMETRICS_PERSIST what both versions declare alike counts on without a gap. Without it the
    store starts afresh if the old workers have all left before the first new one came."""
    with serving(tmp_path, preload=False, store=store, persist=persist) as server:
        for _ in range(20):
            assert "old" == server.job()[0]
        old = server.page()
        server.write(NEW)
        reload(server)
        before = server.page()
        for _ in range(20):
            assert "new" == server.job()[0]
        new = server.page()
        text = server.get("/metrics")[1]

    assert 20.0 == old["kept_total"] == old['jobs_total{color="red"}']
    assert 20.0 == old['seconds_bucket{le="+Inf"}'] == old["seconds_count"]
    assert 20.0 == new["kept_total"] - before["kept_total"]
    if persist:
        assert float(server.jobs) == new["kept_total"]
    jobs = 'jobs_total{shape="round",size="big"}'
    other = 'jobs_total{size="big",shape="round"}'
    name = jobs if jobs in new else other
    assert 20.0 == new[name] - before.get(name, 0.0)
    assert 20.0 == new['seconds_bucket{le="5.0"}'] - before['seconds_bucket{le="5.0"}']
    assert 'jobs_total{color="red"}' not in new
    assert 'seconds_bucket{le="2.0"}' not in new
    assert "# HELP jobs_total Jobs of the new." in text
    assert "Jobs of the old." not in text
    assert 0.0 == new["mpmetrics_hidden_families"]


@pytest.mark.timeout(300)
def test_reload_and_back(tmp_path, store):
    """Back to the first version, its families are shown again; reloads don't grow the store.

    It grows when old and new workers overlap as never before: the shards are as many as lived at
    once, and each gets its memory when its owner first counts. So the reloads go on until six in a
    row had the same shards, and the last two used no more than the two before."""
    with serving(tmp_path, preload=False, store=store) as server:
        server.job()
        shards, used = [], []
        for turn in range(40):
            server.write(NEW if turn % 2 == 0 else OLD)
            reload(server)
            wanted = "new" if turn % 2 == 0 else "old"
            assert wanted == server.job()[0]
            page = server.page()
            shards.append(sum(v for n, v in page.items() if n.startswith("mpmetrics_shards{")))
            used.append(page["mpmetrics_store_used_bytes"])
            same = len(set(shards[-6:])) == 1 and used[-4:-2] == used[-2:]
            if turn >= 9 and wanted == "old" and same:
                break
        else:
            pytest.fail(f"it grows on and on: {shards}, {used}")

    assert 'jobs_total{color="red"}' in page
    assert float(server.jobs) == page["kept_total"]
    assert max(shards) <= 2 * WORKERS


def test_reload_with_preload(tmp_path):
    """With preload HUP makes new workers of the old code: they go on counting, nothing is lost."""
    with serving(tmp_path, preload=True, store=None) as server:
        for _ in range(20):
            server.job()
        server.write(NEW)  # gunicorn itself doesn't look at it: the master has the old
        reload(server)
        for _ in range(20):
            assert "old" == server.job()[0]
        page = server.page()

    assert float(server.jobs) == page["kept_total"] == page['jobs_total{color="red"}']
    assert 0.0 == page["mpmetrics_hidden_families"]
