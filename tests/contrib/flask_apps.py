"""Applications for both libraries: the same code, the same requests, the same page.

Each function is given the library, and returns the application and what to ask it for. Only
programs of their own import this module.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import flask
import prometheus_client
import prometheus_flask_exporter
from flask import Flask, abort, request
from flask.views import MethodView

import mpmetrics
from mpmetrics.contrib import flask as contrib

Asked = tuple[Flask, list[str]]


def defaults(library: Any) -> Asked:
    """Answers of every kind, without a single decorator."""
    app = Flask(__name__)
    library.PrometheusMetrics(app)

    @app.route("/")
    def main() -> str:
        return "ok"

    @app.route("/made", methods=["POST"])
    def made() -> tuple[str, int]:
        return "made", 201

    @app.route("/gone/<int:number>")
    def gone(number: int) -> str:
        abort(410)

    @app.route("/fails")
    def fails() -> str:
        raise KeyError("x")

    class View(MethodView):
        def get(self, name: str) -> str:
            return name

        def delete(self, name: str) -> tuple[str, int]:
            return "", 204

    app.add_url_rule("/view/<name>", view_func=View.as_view("view"))
    asked = ["GET /", "GET /", "HEAD /", "OPTIONS /", "POST /made", "GET /made", "GET /gone/3"]
    asked += ["GET /fails", "GET /nowhere", "GET /view/a", "GET /view/b", "DELETE /view/a"]
    return app, [*asked, "GET /metrics", "GET /metrics", "GET /static/none"]


def grouped(library: Any, group_by: Any) -> Asked:
    app = Flask(__name__)
    library.PrometheusMetrics(app, group_by=group_by)

    @app.route("/item/<int:number>")
    def item(number: int) -> str:
        return str(number)

    @app.route("/fails")
    def fails() -> str:
        raise KeyError("x")

    return app, ["GET /item/1", "GET /item/2", "GET /nowhere", "GET /fails"]


def grouped_by_endpoint(library: Any) -> Asked:
    return grouped(library, "endpoint")


def grouped_by_rule(library: Any) -> Asked:
    return grouped(library, "url_rule")


def grouped_by_function(library: Any) -> Asked:
    def first_part(req: flask.Request) -> str:
        return req.path.split("/")[1]

    return grouped(library, first_part)


def decorated(library: Any) -> Asked:
    """A metric of each kind, labels of each kind, failing views."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app)

    @app.route("/counted/<item>")
    @metrics.counter(
        "by_item", "By item.", labels={"item": lambda: request.view_args["item"], "static": 7}
    )
    def counted(item: str) -> str:
        return item

    @app.route("/status/<int:status>")
    @metrics.do_not_track()
    @metrics.summary("by_status", "By status.", labels={"status": lambda r: r.status_code})
    @metrics.histogram(
        "by_status_and_path",
        "By both.",
        labels={"status": lambda r: r.status_code, "path": lambda: request.path},
        buckets=(100, 200),
    )
    def status(status: int) -> tuple[str, int]:
        return "as asked", status

    @app.route("/running")
    @metrics.gauge("running", "In progress.")
    @metrics.gauge("running_by", "In progress by method.", labels={"m": lambda: request.method})
    def running() -> str:
        page = app.test_client().get("/metrics").get_data(as_text=True)
        return "\n".join(line for line in page.splitlines() if line.startswith("running"))

    @app.route("/plain")
    @metrics.counter("plain", "Without labels.")
    @metrics.counter("static", "Static labels.", labels={"a": 1, "b": "x"})
    @metrics.counter(
        "static_late",
        "Without a first value.",
        labels={"a": 1},
        initial_value_when_only_static_labels=False,
    )
    def plain() -> flask.Response:
        return flask.jsonify(fine=True)

    @app.route("/never")
    @metrics.counter("never", "Nobody asks.")
    @metrics.counter("never_static", "Nobody asks.", labels={"a": 1})
    @metrics.counter(
        "never_late", "Nobody.", labels={"a": 1}, initial_value_when_only_static_labels=False
    )
    @metrics.summary("never_summary", "Nobody asks.")
    @metrics.histogram("never_histogram", "Nobody asks.", labels={"le_": "x"})
    @metrics.gauge("never_gauge", "Nobody asks.", labels={"x": lambda: "y"})
    def never() -> str:
        return ""

    @app.route("/aborts")
    @metrics.counter("aborts", "By status.", labels={"status": lambda r: r.status_code})
    @metrics.histogram("aborts_seconds", "By status.", labels={"s": lambda r: r.status_code})
    def aborts() -> str:
        abort(418)

    @app.route("/raises")
    @metrics.counter("raises", "By status.", labels={"status": lambda r: r.status_code})
    @metrics.summary("raises_seconds", "By status.", labels={"s": lambda r: r.status_code})
    @metrics.gauge("raising", "In progress.")
    def raises() -> str:
        raise ValueError("x")

    return app, [
        *("GET /counted/a", "GET /counted/b", "GET /counted/a", "GET /status/200"),
        *("GET /status/404", "GET /status/404", "GET /running", "GET /plain", "GET /plain"),
        *("GET /aborts", "GET /raises", "GET /raises"),
    ]


def left_out(library: Any) -> Asked:
    """What is not to be tracked, and what is tracked all the same."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app, excluded_paths=["/skip/.*", "^/health$"])

    @app.route("/skip/<name>")
    @metrics.counter("skipped", "On an excluded path.")
    def skip(name: str) -> str:
        return name

    @app.route("/health")
    def health() -> str:
        return "fine"

    @app.route("/health/more")
    def more() -> str:
        return "fine"

    @app.route("/untracked")
    @metrics.do_not_track()
    @metrics.counter("untracked", "Counted, though.")
    def untracked() -> str:
        return ""

    @app.route("/nothing")
    @metrics.exclude_all_metrics()
    @metrics.counter("nothing", "Not even this.")
    def nothing() -> str:
        return ""

    @app.route("/untracked_and_fails")
    @metrics.do_not_track()
    def fails() -> str:
        raise ValueError("x")

    return app, [
        *("GET /skip/a", "GET /health", "GET /health/more", "GET /untracked", "GET /nothing"),
        "GET /untracked_and_fails",
    ]


def user_defaults(library: Any, exclude: bool = True) -> Asked:
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(
        app, excluded_paths="/skip", exclude_user_defaults=exclude, export_defaults=False
    )

    @app.route("/one")
    def one() -> str:
        return ""

    @app.route("/two")
    @metrics.do_not_track()
    def two() -> str:
        return ""

    @app.route("/skip")
    def skip() -> str:
        return ""

    @app.route("/fails")
    def fails() -> str:
        raise ValueError("x")

    metrics.register_default(
        metrics.counter("by_path", "By path.", labels={"path": lambda: request.path}),
        metrics.histogram("time_by_path", "By path.", labels={"path": lambda: request.path}),
    )
    return app, ["GET /one", "GET /two", "GET /skip", "GET /nowhere", "GET /fails", "GET /metrics"]


def user_defaults_everywhere(library: Any) -> Asked:
    return user_defaults(library, exclude=False)


def labelled(library: Any) -> Asked:
    """Labels for every metric, constant and of each request."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(
        app,
        default_labels={
            "app": "shop",
            "host": lambda: request.host,
            "code": lambda r: r.status_code,
        },
    )

    @app.route("/one")
    @metrics.counter("one", "With the defaults.", labels={"more": "x"})
    @metrics.counter("two", "With the defaults alone.")
    def one() -> str:
        return ""

    metrics.info("about", "With none of them.", version="1", build=2)
    metrics.info("ordered", "In order.", ("z", "a"), ("1", 2))
    return app, ["GET /one", "GET /nowhere"]


def constant_labels(library: Any) -> Asked:
    """Constant labels alone: metrics have a first value."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app, default_labels={"app": "shop"})

    @app.route("/one")
    @metrics.counter("one", "Asked for.")
    @metrics.gauge("two", "Asked for.")
    def one() -> str:
        return ""

    @app.route("/two")
    @metrics.counter("never", "Not asked for.", labels={"x": "y"})
    def two() -> str:
        return ""

    return app, ["GET /one"]


def as_summary(library: Any) -> Asked:
    app = Flask(__name__)
    library.PrometheusMetrics(app, default_latency_as_histogram=False, defaults_prefix="shop")
    return app, ["GET /nowhere"]


def without_prefix(library: Any) -> Asked:
    app = Flask(__name__)
    library.PrometheusMetrics(app, defaults_prefix=library.NO_PREFIX, buckets=(1, 2.5), path="/m")
    return app, ["GET /nowhere", "GET /m"]


def factory(library: Any) -> Asked:
    """Made before the application is; two applications count together."""
    metrics = library.PrometheusMetrics.for_app_factory(group_by="endpoint")
    metrics.info("made_before", "The application.", version=3)
    by_path = metrics.counter("by_path", "By path.", labels={"path": lambda: request.path})

    def make() -> Flask:
        app = Flask(__name__)

        @app.route("/one")
        @by_path
        def one() -> str:
            return ""

        @app.route("/two")
        @by_path
        def two() -> str:
            return ""

        return app

    app = make()
    metrics.init_app(app)
    return app, ["GET /one", "GET /two", "GET /metrics"]


def elsewhere(library: Any) -> Asked:
    """No page of its own; one registered at another path, and one in another application."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app, path=None)
    metrics.register_endpoint("/elsewhere")
    return app, ["GET /metrics", "GET /elsewhere", "GET /elsewhere"]


def protected(library: Any) -> Asked:
    """A decorator of the page: it refuses."""
    app = Flask(__name__)

    def refuse(function: Any) -> Any:
        def refused(*args: Any, **kwargs: Any) -> Any:
            return "not for you", 401

        return refused

    library.PrometheusMetrics(app, metrics_decorator=refuse)
    return app, ["GET /metrics"]


def let_through(library: Any) -> Asked:
    """An application that is being tested: errors reach the test."""
    app = Flask(__name__)
    app.testing = True
    metrics = library.PrometheusMetrics(app)

    @app.route("/fails")
    @metrics.counter("failed", "By status.", labels={"status": lambda r: r.status_code})
    @metrics.gauge("failing", "In progress.")
    def fails() -> str:
        raise ValueError("x")

    return app, ["GET /fails", "GET /nowhere"]


def answered_before(library: Any) -> Asked:
    """No view is ever called."""
    app = Flask(__name__)
    library.PrometheusMetrics(app)

    @app.before_request
    def refuse() -> tuple[str, int]:
        if request.path == "/fails":
            raise ValueError("x")
        return "no", 403

    return app, ["GET /one", "GET /fails"]


def in_blueprints(library: Any) -> Asked:
    """Views whose endpoint isn't their name."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app, group_by="endpoint")
    blueprint = flask.Blueprint("part", __name__)

    @blueprint.route("/part")
    @metrics.counter("part", "By status.", labels={"status": lambda r: r.status_code})
    def part() -> tuple[str, int]:
        return "", 203

    @app.route("/renamed", endpoint="other")
    @metrics.counter("renamed", "By status.", labels={"status": lambda r: r.status_code})
    def renamed() -> tuple[str, int]:
        return "", 206

    app.register_blueprint(blueprint)
    return app, ["GET /part", "GET /renamed"]


def helping(library: Any) -> Asked:
    """Functions that are no views, and fail."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app)

    @metrics.counter("helped", "By method.", labels={"m": lambda: request.method})
    @metrics.histogram("helped_seconds", "Each.")
    def helper(value: object) -> object:
        if value is None:
            raise ValueError("x")
        return value

    @app.route("/one")
    def one() -> str:
        try:
            helper(None)
        except ValueError:
            return str(helper([helper(5)]))
        return ""

    return app, ["GET /one", "GET /one"]


def handled(library: Any) -> Asked:
    """Errors that the application answers itself."""
    app = Flask(__name__)
    metrics = library.PrometheusMetrics(app)

    @app.errorhandler(ValueError)
    def wrong(error: ValueError) -> tuple[str, int]:
        return "wrong", 422

    @app.errorhandler(404)
    def missing(error: Exception) -> tuple[str, int]:
        return "not here", 404

    @app.route("/wrong")
    @metrics.counter("wrong", "By status.", labels={"status": lambda r: r.status_code})
    def view() -> str:
        raise ValueError("x")

    @app.errorhandler(500)
    def broken(error: Exception) -> tuple[str, int]:
        return "sorry", 503

    @app.route("/broken")
    @metrics.histogram("broken", "Whatever it is answered.")
    def breaks() -> str:
        raise KeyError("x")

    return app, ["GET /wrong", "GET /nowhere", "GET /broken"]


ALL = {
    function.__name__: function
    for function in (
        defaults,
        grouped_by_endpoint,
        grouped_by_rule,
        grouped_by_function,
        decorated,
        left_out,
        user_defaults,
        user_defaults_everywhere,
        labelled,
        constant_labels,
        as_summary,
        without_prefix,
        factory,
        elsewhere,
        protected,
        let_through,
        answered_before,
        in_blueprints,
        helping,
        handled,
    )
}


def play(theirs: bool) -> dict[str, Any]:
    """The answers and the page of each, with one of the libraries, in a registry of its own."""
    if theirs:
        return {
            name: _play(app, prometheus_client, prometheus_flask_exporter)
            for name, app in ALL.items()
        }
    return {name: _play(app, mpmetrics, contrib) for name, app in ALL.items()}


def _play(make: Any, client: Any, library: Any) -> dict[str, Any]:
    registry = client.CollectorRegistry()

    class PrometheusMetrics(library.PrometheusMetrics):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, registry=registry, **kwargs)

    given = SimpleNamespace(PrometheusMetrics=PrometheusMetrics, NO_PREFIX=library.NO_PREFIX)
    app, asked = make(given)
    visitor = app.test_client()
    answers = []
    for each in asked:
        method, path = each.split()
        try:
            response = visitor.open(path, method=method)
        except ValueError as error:  # an application that is being tested lets it through
            answers.append([each, repr(error)])
            continue
        body = response.get_data(as_text=True)
        # The pages that are asked for on the way are compared at the end.
        answers.append([each, response.status, "page" if body.startswith("# HELP") else body])
    return {"answers": answers, "page": client.generate_latest(registry).decode()}
