"""mpmetrics.contrib.flask: prometheus_flask_exporter's pages, and what is different on purpose."""

from __future__ import annotations

import logging
import re
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from examples.rig import page as pages
from tests.answering import Watched
from tests.programs import run
from tests.servers.driver import Model, free_port, need, serving

import mpmetrics

flask = pytest.importorskip("flask", reason="pip install '.[frameworks]'")
from flask import Flask, request  # noqa: E402
from flask.views import MethodView  # noqa: E402

from mpmetrics.contrib.flask import PrometheusMetrics  # noqa: E402

# ---- beside prometheus_flask_exporter ------------------------------------------------------------

APPLICATIONS = (
    "defaults",
    "grouped_by_endpoint",
    "grouped_by_rule",
    "grouped_by_function",
    "decorated",
    "left_out",
    "user_defaults",
    "user_defaults_everywhere",
    "labelled",
    "constant_labels",
    "as_summary",
    "without_prefix",
    "factory",
    "elsewhere",
    "protected",
    "let_through",
    "answered_before",
    "in_blueprints",
    "helping",
    "handled",
)

# It says that `do_not_track` holds for metrics of register_default, too, but it doesn't (0.23.2).
STATED = {
    "user_defaults": ['path="/two"', 'path="/metrics"'],
    "user_defaults_everywhere": ['path="/two"', 'path="/metrics"'],
}


@pytest.fixture(scope="module")
def played() -> list[dict[str, Any]]:
    """Both libraries, theirs first."""
    pytest.importorskip("prometheus_flask_exporter", reason="pip install '.[frameworks]'")
    return [run("tests.contrib.flask_apps:play", theirs) for theirs in (True, False)]


def types(text: str) -> set[str]:
    return set(re.findall("^# TYPE (.*)$", text, re.MULTILINE))


def samples(text: str) -> dict[str, float | None]:
    """Every sample, with its value where that isn't a time."""
    found: dict[str, float | None] = {}
    for name, value in pages.read(text).items():
        timed = re.search(r"_created\b|_sum\b|_bucket\{.*le=\"(?!\+Inf)", name)
        found[re.sub(r'\bversion="\d+\.\d+\.\d+"', "", name)] = None if timed else value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_as_theirs(played: list[dict[str, Any]], name: str) -> None:
    """The same application gives the same answers, families, labels and totals with both."""
    theirs, ours = (each[name] for each in played)

    assert theirs["answers"] == ours["answers"]
    assert types(theirs["page"]) == types(ours["page"])
    expected = samples(theirs["page"])
    for label in STATED.get(name, ()):
        stated = [sample for sample in expected if label in sample]
        assert stated
        for sample in stated:
            del expected[sample]
    assert expected == samples(ours["page"])


def test_every_application_is_compared(played: list[dict[str, Any]]) -> None:
    """No application is forgotten."""
    assert list(APPLICATIONS) == list(played[0]) == list(played[1])


# ---- what is different ---------------------------------------------------------------------------


@pytest.fixture
def registry() -> mpmetrics.CollectorRegistry:
    return mpmetrics.CollectorRegistry()


@pytest.fixture
def app() -> Flask:
    return Flask(__name__)


def get(app: Flask, *paths: str) -> list[int]:
    return [app.test_client().get(path).status_code for path in paths]


def shown(registry: mpmetrics.CollectorRegistry, start: str) -> dict[str, float]:
    """The samples whose names begin so, but for times."""
    page = samples(mpmetrics.generate_latest(registry).decode())
    return {n: v for n, v in page.items() if n.startswith(start) and v is not None}


def test_labels_see_what_is_sent(app, registry):
    """A label that takes the response gets the one that the visitor gets, from wherever."""
    metrics = PrometheusMetrics(app, registry=registry)

    @app.after_request
    def change(response):
        response.status_code += 1
        return response

    @app.route("/")
    @metrics.counter("c", "h", labels={"status": lambda r: r.status_code})
    def view():
        return "", 298

    assert [299] == get(app, "/")
    assert {'c_total{status="299"}': 1.0} == shown(registry, "c_total")
    assert {'flask_http_request_total{method="GET",status="299"}': 1.0} == shown(
        registry, "flask_http_request_total"
    )


def test_default_metrics_of_ones_own(app, registry):
    """do_not_track leaves a view out of what register_default registers, and so is the page."""
    metrics = PrometheusMetrics(app, registry=registry, export_defaults=False)

    @app.route("/one")
    def one():
        return ""

    @app.route("/two")
    @metrics.do_not_track()
    def two():
        return ""

    metrics.register_default(metrics.counter("c", "h", labels={"path": lambda: request.path}))
    get(app, "/one", "/two", "/metrics", "/nowhere")

    assert {'c_total{path="/one"}': 1.0} == shown(registry, "c_total")


def test_label_that_fails(app, registry, caplog):
    """Who visits is served though a label can't be told; it is logged, and nothing is counted."""
    metrics = PrometheusMetrics(app, registry=registry)

    @app.route("/")
    @metrics.counter("c", "h", labels={"a": lambda: request.view_args["nothing"]})
    @metrics.histogram("h", "h", labels={"a": lambda response: response.nothing})
    @metrics.gauge("g", "h", labels={"a": lambda: 1 / 0})
    def view():
        return ""

    with caplog.at_level(logging.ERROR, "mpmetrics"):
        assert [200] == get(app, "/")
    assert [
        "a call isn't counted: a label of gauge:g can't be told",
        "a call isn't counted: a label of counter:c can't be told",
        "a call isn't counted: a label of histogram:h can't be told",
    ] == caplog.messages
    assert {} == shown(registry, "c_") | shown(registry, "h_") | shown(registry, "g")


def test_gauge_that_waits_for_a_response(app, registry):
    """A gauge in progress can't be told apart by the response, and says so at once."""
    metrics = PrometheusMetrics(app, registry=registry)

    with pytest.raises(TypeError, match="before there is a response"):
        metrics.gauge("g", "h", labels={"status": lambda response: response.status_code})


def test_several_applications(registry):
    """Applications and objects of one registry count together, in one application once."""
    metrics = PrometheusMetrics.for_app_factory(registry=registry)
    apps = [Flask(f"app{number}") for number in range(3)]
    metrics.init_app(apps[0])
    metrics.init_app(apps[1])
    metrics.init_app(apps[1])
    PrometheusMetrics(apps[2], registry=registry)
    for app in apps:
        assert [404, 200] == get(app, "/nowhere", "/metrics")

    assert {'flask_http_request_total{method="GET",status="404"}': 3.0} == shown(
        registry, "flask_http_request_total"
    )


def test_several_objects_in_one_application(app, registry):
    """Objects with prefixes of their own count each request, each under its own."""
    PrometheusMetrics(app, registry=registry)
    PrometheusMetrics(app, registry=registry, path=None)  # nothing that isn't counted yet
    PrometheusMetrics(app, registry=registry, path=None, defaults_prefix="more", group_by="method")
    get(app, "/nowhere")

    for prefix in ("flask", "more"):
        assert {f'{prefix}_http_request_total{{method="GET",status="404"}}': 1.0} == shown(
            registry, f"{prefix}_http_request_total"
        )


def test_defaults_of_another_shape(app, registry):
    """A second object that wants the same names with other labels is prometheus_client's error."""
    PrometheusMetrics(app, registry=registry)

    with pytest.raises(ValueError, match="Duplicated timeseries"):
        PrometheusMetrics(app, registry=registry, group_by="endpoint", path=None)


def test_emptied_registry(registry):
    """Who empties the registry between tests finds the default metrics in it again."""
    first, second = Flask("first"), Flask("second")
    PrometheusMetrics(first, registry=registry)
    get(first, "/nowhere")
    for collector in list(registry._collector_to_names):
        registry.unregister(collector)
    PrometheusMetrics(second, registry=registry)
    get(second, "/nowhere")

    assert {'flask_http_request_total{method="GET",status="404"}': 2.0} == shown(
        registry, "flask_http_request_total"
    )


def test_methods_of_views(app, registry):
    """Methods of a MethodView are decorated like any function, and so is the whole view."""
    metrics = PrometheusMetrics(app, registry=registry)
    by_status = {"status": lambda r: r.status_code}

    class View(MethodView):
        decorators = [metrics.counter("all", "h", labels=by_status)]

        @metrics.counter("get", "h", labels=by_status)
        def get(self):
            return "", 202

        @metrics.do_not_track()
        def post(self):
            return ""

    app.add_url_rule("/", view_func=View.as_view("view"))
    visitor = app.test_client()
    assert [202, 200] == [visitor.get("/").status_code, visitor.post("/").status_code]

    assert {'get_total{status="202"}': 1.0} == shown(registry, "get_total")
    assert {'all_total{status="202"}': 1.0, 'all_total{status="200"}': 1.0} == shown(
        registry, "all_total"
    )
    assert {'flask_http_request_total{method="GET",status="202"}': 1.0} == shown(
        registry, "flask_http_request_total"
    )


def test_coroutines(app, registry):
    """An `async def` view is counted to its end, and in progress meanwhile."""
    pytest.importorskip("asgiref", reason="pip install '.[frameworks]'")
    metrics = PrometheusMetrics(app, registry=registry)
    seen = []

    @app.route("/")
    @metrics.counter("c", "h", labels={"status": lambda r: r.status_code})
    @metrics.gauge("g", "h")
    async def view():
        seen.append(shown(registry, "g"))
        return "", 201

    assert [201] == get(app, "/")
    assert [{"g": 1.0}] == seen
    assert {"g": 0.0} == shown(registry, "g")
    assert {'c_total{status="201"}': 1.0} == shown(registry, "c_total")


def test_outside_of_requests(app, registry):
    """A decorated function may be called by anybody: it counts, and returns what it returns."""
    metrics = PrometheusMetrics(app, registry=registry)

    @metrics.counter("c", "h", labels={"a": lambda: "x", "b": 5})
    @metrics.summary("s", "h")
    @metrics.gauge("g", "h")
    @metrics.exclude_all_metrics()
    def function(value):
        return value, shown(registry, "g")

    assert (3, {"g": 1.0}) == function(3)
    assert {'c_total{a="x",b="5"}': 1.0} == shown(registry, "c_total")
    assert {"s_count": 1.0} == shown(registry, "s_count")
    assert {"g": 0.0} == shown(registry, "g")


# ---- the page ------------------------------------------------------------------------------------

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def test_page_is_negotiated(app, registry):
    """/metrics speaks both formats, is compressed and filtered, and answers HEAD."""
    metrics = PrometheusMetrics(app, registry=registry)
    visitor = app.test_client()
    text = visitor.get("/metrics?name[]=flask_exporter_info")
    open_ = visitor.get("/metrics", headers={"Accept": OPENMETRICS})
    small = visitor.get("/metrics", headers={"Accept-Encoding": "gzip"})
    head = visitor.head("/metrics")
    generated = metrics.generate_metrics(OPENMETRICS)
    of_names = metrics.generate_metrics(names=["flask_exporter_info"])

    version = mpmetrics.contrib.flask.version("mpmetrics")
    assert {f'flask_exporter_info{{version="{version}"}}': 1.0} == pages.read(text.text)
    assert text.content_type.startswith("text/plain; version=")
    assert open_.text.endswith("# EOF\n")
    assert "gzip" == small.headers["Content-Encoding"]
    assert (200, b"") == (head.status_code, head.data)
    assert [405] == [visitor.post("/metrics").status_code]
    assert (open_.text, open_.content_type) == generated
    assert (text.text, text.content_type) == of_names


def test_port_of_its_own(app, registry):
    """start_http_server serves the registry at a port, there at one path."""
    metrics = PrometheusMetrics(app, path=None, registry=registry)
    port = free_port()
    metrics.start_http_server(port, "127.0.0.1", "/where")

    assert [404] == get(app, "/metrics")
    with urlopen(f"http://127.0.0.1:{port}/where", timeout=10) as response:
        assert "flask_exporter_info" in response.read().decode()
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)


# ---- several workers -----------------------------------------------------------------------------

SHOP = """
from flask import Flask, request
from mpmetrics.contrib.flask import PrometheusMetrics

app = Flask(__name__)
metrics = PrometheusMetrics(app, default_labels={"app": "shop"})
metrics.info("shop_info", "The shop.", version=3)

@app.get("/order/<product>")
@metrics.counter("orders", "h", labels={"product": lambda: request.view_args["product"]})
@metrics.histogram("order_seconds", "h", labels={"status": lambda r: r.status_code})
@metrics.gauge("orders_in_progress", "h")
def order(product):
    return "thanks"

@app.get("/hangs")
@metrics.gauge("hanging", "h")
def hangs():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""
GUNICORN = "gunicorn --no-control-socket --bind 127.0.0.1:8000 --workers 3 shop:app"


@pytest.mark.slow
@pytest.mark.parametrize("command", [f"mpmetrics run -- {GUNICORN}", f"{GUNICORN} --preload"])
def test_every_worker(tmp_path, command):
    """Under gunicorn every worker's page has what all of them counted, also after one was killed.

    What that one was doing isn't in progress any more."""
    need("gunicorn")
    orders = 60
    truth = {
        'orders_total{app="shop",product="tea"}': orders,
        'order_seconds_count{app="shop",status="200"}': orders,
        'orders_in_progress{app="shop"}': 0.0,
        'flask_http_request_duration_seconds_count{app="shop",method="GET",path="/order/tea",'
        'status="200"}': orders,
        'flask_http_request_total{app="shop",method="GET",status="200"}': orders,
        'shop_info{version="3"}': 1.0,
        'hanging{app="shop"}': 0.0,
    }
    with serving(Model(command, files={"shop.py": SHOP}), tmp_path, Watched) as served:
        served.work_by_two(orders)
        for page in served.pages().values():
            assert truth == {name: pages.read(page)[name] for name in truth}
        with pytest.raises((OSError, HTTPException)):
            served.get("/hangs")
        served.settle()
        for page in served.pages().values():
            assert truth == {name: pages.read(page)[name] for name in truth}
