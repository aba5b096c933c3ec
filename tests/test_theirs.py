"""Programs that change only the import: prometheus_client's names under ours."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys

import prometheus_client
import pytest
from tests.programs import LIMIT, environment
from tests.test_autopatch import WORKERS

import mpmetrics

# As programs have them; each with `prometheus_client` for `mpmetrics`.
IMPORTS = """
from mpmetrics import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from mpmetrics import REGISTRY, Metric, multiprocess, start_http_server, write_to_textfile
from mpmetrics import push_to_gateway, pushadd_to_gateway, delete_from_gateway
from mpmetrics import core, exposition, metrics, registry, samples
from mpmetrics.asgi import make_asgi_app
from mpmetrics.core import REGISTRY, Counter, Gauge, GaugeMetricFamily, CounterMetricFamily
from mpmetrics.core import CollectorRegistry, HistogramMetricFamily, InfoMetricFamily, Sample, Info
from mpmetrics.core import StateSetMetricFamily, SummaryMetricFamily, UntypedMetricFamily, Exemplar
from mpmetrics.exposition import CONTENT_TYPE_LATEST, MetricsHandler, generate_latest
from mpmetrics.exposition import basic_auth_handler, choose_encoder, default_handler
from mpmetrics.exposition import make_wsgi_app, push_to_gateway, start_http_server
from mpmetrics.exposition import ThreadingWSGIServer, tls_auth_handler, write_to_textfile
from mpmetrics.metrics import Counter, Gauge, Histogram, Info, MetricWrapperBase, Summary, Enum
from mpmetrics.metrics import disable_created_metrics, enable_created_metrics
from mpmetrics.metrics_core import GaugeMetricFamily, Metric
from mpmetrics.multiprocess import MultiProcessCollector, mark_process_dead
from mpmetrics.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from mpmetrics.openmetrics.parser import text_string_to_metric_families
from mpmetrics.parser import text_fd_to_metric_families, text_string_to_metric_families
from mpmetrics.registry import REGISTRY, Collector, CollectorRegistry
from mpmetrics.samples import Exemplar, Sample, Timestamp
""".strip().splitlines()

# What is ours under their names; everything else is theirs.
OURS = {
    *("Counter", "Gauge", "Summary", "Histogram", "Info", "Enum", "MetricWrapperBase"),
    *("CollectorRegistry", "MultiProcessCollector", "mark_process_dead", "generate_latest"),
    *("disable_created_metrics", "enable_created_metrics"),
    *("MetricsHandler", "make_asgi_app", "make_wsgi_app", "start_http_server", "start_wsgi_server"),
    *("core", "exposition", "metrics", "multiprocess", "registry", "samples"),
}


def test_every_name_of_the_package():
    """The package has every name that prometheus_client says it has."""
    assert [] == [name for name in prometheus_client.__all__ if not hasattr(mpmetrics, name)]


def test_star_import():
    """`from mpmetrics import *` brings prometheus_client's names and ours, and no module."""
    found = {}
    exec("from mpmetrics import *", found)
    del found["__builtins__"]

    ours = {name for name in found if name not in prometheus_client.__all__}
    assert set() == set(prometheus_client.__all__) - found.keys()
    assert {"Store", "StoreStatistics", "StoreCollector", "StoreError", "StoreLayoutError"} | {
        "Patch",
        "patch",
    } == ours
    assert [] == [name for name, value in found.items() if inspect.ismodule(value)]


@pytest.mark.parametrize("module", ["core", "exposition", "metrics", "registry", "samples"])
def test_star_import_of_modules(module):
    """So with the modules that we have, too: the same names as from prometheus_client's."""
    found, theirs = {}, {}
    exec(f"from mpmetrics.{module} import *", found)
    exec(f"from prometheus_client.{module} import *", theirs)

    assert theirs.keys() == found.keys()


@pytest.mark.parametrize("line", IMPORTS)
def test_imports(line):
    """Each import gives ours of what is replaced, and prometheus_client's own of the rest."""
    found, theirs = {}, {}
    exec(line, found)
    exec(line.replace("mpmetrics", "prometheus_client"), theirs)

    for name in theirs.keys() - {"__builtins__"}:
        assert (name in OURS) == (found[name] is not theirs[name]), name
        assert (name in OURS) == _origin(found[name]).startswith("mpmetrics"), name


def _origin(value: object) -> str:
    return str(getattr(value, "__module__", None) or getattr(value, "__name__", ""))


@pytest.mark.parametrize("module", ["core", "exposition", "metrics", "registry", "samples"])
def test_public_names_of_modules(module):
    """A module that we have, too, has every public name of prometheus_client's."""
    theirs = importlib.import_module(f"prometheus_client.{module}")
    ours = importlib.import_module(f"mpmetrics.{module}")

    defined = [
        name
        for name, value in vars(theirs).items()
        if name[0] != "_" and getattr(value, "__module__", None) == theirs.__name__
    ]
    assert defined or module == "core"
    assert [] == [
        name for name in (*defined, *getattr(theirs, "__all__", ())) if not hasattr(ours, name)
    ]


def test_no_other_names():
    """What prometheus_client hasn't is an error in ours, which says so; so are private names."""
    for name in ("no_such_name", "_bake_output"):
        with pytest.raises(AttributeError, match=f"'mpmetrics.exposition' has no .* '{name}'"):
            getattr(importlib.import_module("mpmetrics.exposition"), name)
        with pytest.raises(ImportError, match=name):
            exec(f"from mpmetrics.exposition import {name}")


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_program_with_another_import(method, tmp_path):
    """A program with workers in which `prometheus_client` is replaced by `mpmetrics` is exact."""
    program = tmp_path / "program.py"
    program.write_text(WORKERS.replace("prometheus_client", "mpmetrics"))
    said = subprocess.check_output(
        [sys.executable, program, method], env=environment(), text=True, timeout=LIMIT
    )

    pages, last = json.loads(said)
    assert [[50.0, 50.0, 100.0, True]] * 7 == pages
    assert [51.0, 50.0, 101.5, True] == last


ELSEWHERE = """
import sys
# Python's own modules, and prometheus_client's, are of this machine.
import prometheus_client, prometheus_client.multiprocess, prometheus_client.openmetrics.parser
sys.platform = "darwin"
import mpmetrics.auto
{imports}
with mpmetrics.patch() as patch:
    Counter("x", "h").inc()
patch.undo()
store = mpmetrics.Store("/not/there", persist=True)
assert store.path == "/not/there" and store.statistics() == mpmetrics.StoreStatistics()
assert store.statistics().growth_refused is False and store.statistics().series == 0
assert issubclass(mpmetrics.StoreLayoutError, mpmetrics.StoreError)
for make in (mpmetrics.make_wsgi_app, mpmetrics.make_asgi_app):
    assert callable(make(path="/metrics")) and callable(make(REGISTRY, True))
server, _ = mpmetrics.start_http_server(0, "127.0.0.1", path="/metrics", shared=True)
port = server.server_port
assert mpmetrics.start_http_server(port, "127.0.0.1", shared=True)[0] is None
try:
    mpmetrics.start_http_server(port, "127.0.0.1")
except OSError:
    server.shutdown()
    server.server_close()
scope = {{}}
exec("from mpmetrics import *", scope)
assert set(mpmetrics.__all__) == scope.keys() - {{"__builtins__"}}
assert b"x_total 1.0" in generate_latest(REGISTRY)
print(Counter.__module__, MultiProcessCollector.__module__)
"""


def test_elsewhere(tmp_path):
    """Where there is no core, the same imports give prometheus_client's; patch() does nothing.

    All our own names are there, and take the same arguments."""
    program = tmp_path / "program.py"
    program.write_text(ELSEWHERE.format(imports="\n".join(IMPORTS)))
    ended = subprocess.run(
        [sys.executable, program], env=environment(), capture_output=True, text=True, timeout=LIMIT
    )

    assert "prometheus_client.metrics prometheus_client.multiprocess\n" == ended.stdout, (
        ended.stderr
    )
    assert 1 == ended.stderr.count("shared memory needs Linux")


COMMAND = """
import runpy, sys
# Python's own modules, and prometheus_client's, are of this machine.
import prometheus_client.multiprocess, prometheus_client.openmetrics.parser
sys.platform = "darwin"
sys.modules["grp"] = sys.modules["pwd"] = None  # Windows has none
runpy.run_module("mpmetrics", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("words", [["--version"], ["run", "--", "true"], []])
def test_command_elsewhere(words):
    """Where there is no core the command line says so, does nothing, and ends with status 1."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )

    said = ended.stderr.splitlines()
    assert (1, "", "mpmetrics: shared memory needs Linux") == (
        ended.returncode,
        ended.stdout,
        said[-1],
    )
    assert said[:-1] == [line for line in said if "here mpmetrics is prometheus_client" in line]
