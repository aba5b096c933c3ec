"""Exemplars: OpenMetrics' rules, from every process."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.programs import Program, environment, run

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

from rig.processes import Child, wait_for  # noqa: E402
from rig.prometheus import Prometheus, find_prometheus  # noqa: E402

pytestmark = pytest.mark.usefixtures("nothing_left")


def exemplar(number: int, value: float) -> list[Any]:
    return [{"trace_id": str(number)}, value]


def test_newest_of_all_processes(method):
    """A counter shows the newest exemplar of all processes, a histogram that of each bucket."""
    seen = run("tests.plays.exemplars:several", method)

    assert [
        {"c_total": exemplar(0, 1.0), "h_bucket 1.0": exemplar(0, 1.0)},
        {
            "c_total": exemplar(1, 2.0),
            "h_bucket 1.0": exemplar(0, 1.0),
            "h_bucket 2.0": exemplar(1, 2.0),
        },
        {
            "c_total": exemplar(2, 3.0),
            "h_bucket 1.0": exemplar(0, 1.0),
            "h_bucket 2.0": exemplar(1, 2.0),
            "h_bucket +Inf": exemplar(2, 3.0),
        },
        {
            "c_total": exemplar(3, 4.0),
            "h_bucket 1.0": exemplar(0, 1.0),
            "h_bucket 2.0": exemplar(1, 2.0),
            "h_bucket +Inf": exemplar(3, 4.0),
        },
        {
            "c_total": exemplar(5, 1.0),
            "h_bucket 1.0": exemplar(0, 1.0),
            "h_bucket 2.0": exemplar(1, 2.0),
            "h_bucket +Inf": exemplar(3, 4.0),
        },
    ] == seen


def test_of_the_dead(method):
    """The exemplar of a killed process stays the newest, also when another one has its shard."""
    outcome = run("tests.plays.exemplars:killed", method)

    dead = [{"trace_id": "of the dead"}, 1.0]
    assert [
        {"c_total": dead, "h_bucket 1.0": dead},
        {"c_total": dead, "h_bucket 1.0": dead},
        {"c_total": dead, "h_bucket 1.0": [{"trace_id": "new"}, 0.5]},
    ] == outcome["seen"]


def test_as_prometheus_client():
    """After the same calls the OpenMetrics page is prometheus_client's own, but for the times."""
    for theirs, ours in run("tests.plays.exemplars:as_theirs"):
        assert theirs == ours


def test_limits():
    """More than 128 code points or a bad label name is an error, and nothing is counted."""
    outcome = run("tests.plays.exemplars:limits")

    values = ["ValueError", "ValueError"]
    assert {
        "129 code points": values,
        "129 in two labels": values,
        "129 umlauts": values,
        "no such name": values,
        "a dash": values,
        "reserved": values,
        "empty name": values,
        "no str": ["TypeError", "TypeError"],
        "name no str": values,
    } == outcome["errors"]
    assert {"c_total": 0.0, "h_count": 0.0, "h_sum": 0.0} == outcome["values"]
    assert {} == outcome["exemplars"]


def test_not_in_the_text_format():
    """The format 0.0.4 knows no exemplars: none is shown there, by either library's renderer."""
    assert [] == run("tests.plays.exemplars:text_format")


def test_removed(method):
    """With a removed series its exemplars are gone; the next one in its words has none."""
    assert [
        {"l_total me": [{"trace_id": "also before"}, 1.0]},
        {},
        {},
        {"l_total me": [{"trace_id": "after"}, 1.0]},
    ] == run("tests.plays.exemplars:removed", method)


def test_storm_of_exemplars():
    """2,000 label sets with exemplars, made and removed, take no more memory than 200 do."""
    few, many = run("tests.plays.exemplars:storm", 2000)

    assert few["series"] == many["series"]
    assert few["used_bytes"] == many["used_bytes"]


@pytest.mark.slow
def test_whole_while_written(method):
    """Under two writers each exemplar that a scrape shows is one of those written, whole."""
    outcome = run("tests.plays.exemplars:together", method, 20_000)

    assert [] == outcome["torn"]


# A server whose exemplars another process gave.
EXEMPLAR_SERVER = """\
import sys
from mpmetrics import Counter, Histogram, start_http_server
import os
c = Counter("c", "h"); h = Histogram("h", "h", buckets=[1, 2])
c.inc()
h.observe(5)
server, _ = start_http_server(0, "127.0.0.1")
print(server.server_port, flush=True)
pid = os.fork()
if pid == 0:
    c.inc(5, {"trace_id": "of a child"})
    h.observe(1.5, {"trace_id": "é", "span_id": "1"})
    os._exit(0)
os.waitpid(pid, 0)
print("ready", flush=True)
sys.stdin.read()
"""


# ---- Prometheus ----------------------------------------------------------------------------------


class Storing(Prometheus):
    """One that keeps exemplars, and scrapes OpenMetrics as it does by itself."""

    def exemplars(self, query: str) -> dict[str, Any]:
        now = time.time()
        arguments = {"query": query, "start": now - 60, "end": now + 60}
        url = f"{self.url}/api/v1/query_exemplars?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as response:
                data = json.load(response)["data"]
        except OSError:
            return {}
        return {
            series["seriesLabels"]["__name__"]: [
                (one["labels"], float(one["value"])) for one in series["exemplars"]
            ]
            for series in data
        }


@pytest.fixture
def with_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus is started with the feature that stores exemplars."""
    plain = Child.__init__

    def start(self: Child, command: list[str], **options: Any) -> None:
        plain(self, [*command, "--enable-feature=exemplar-storage"], **options)

    monkeypatch.setattr(Child, "__init__", start)


@pytest.mark.slow
@pytest.mark.usefixtures("with_storage")
def test_prometheus_stores_them(tmp_path):
    """A Prometheus that scrapes the page stores the exemplars that another process gave."""
    program = find_prometheus()
    if program is None:
        pytest.skip("no `prometheus` program on PATH (Debian: apt-get install prometheus)")
    with ExitStack() as everything:
        server = everything.enter_context(Program(["-c", EXEMPLAR_SERVER], environment()))
        port = int(server.read_line())
        assert "ready" == server.read_line()
        prometheus = everything.enter_context(Storing(program, ("127.0.0.1", port), tmp_path))
        prometheus.wait_ready()
        given = {
            "c_total": [({"trace_id": "of a child"}, 5.0)],
            "h_bucket": [({"trace_id": "é", "span_id": "1"}, 1.5)],
        }
        asking = partial(prometheus.exemplars, '{__name__=~"c_total|h_bucket"}')

        assert given == wait_for(asking, given, 20)
        server.finish()
