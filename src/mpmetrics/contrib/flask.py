"""
Flask: metrics of requests, of all workers, as users of prometheus_flask_exporter have them.

    from flask import Flask
    from mpmetrics.contrib.flask import PrometheusMetrics

    app = Flask(__name__)
    metrics = PrometheusMetrics(app)  # counts every request, and serves /metrics

The same names, labels and totals as there (tests/contrib compares both), but for this:

* Every worker knows the totals of all: no classes for gunicorn and uWSGI, no folder, no hook.
* A label that takes the response gets the one that is sent, also where an error handler or
  `after_request` made it. So there is no `response_converter`.
* `do_not_track` holds for the metrics of `register_default`, too.
* A label that can't be told is logged, and that call isn't counted; the visitor is served.
* Gauges are of living processes: `livesum` for what is in progress, `livemax` for `info`, unless a
  `multiprocess_mode` is given.
* Several objects and applications share the default metrics of a registry.
* Coroutines, methods of a MethodView and functions that no request called may be decorated.
"""

from __future__ import annotations

import inspect
import logging
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import prometheus_client
from flask import Flask, Response, current_app, has_request_context, make_response, request
from werkzeug.test import EnvironBuilder

import mpmetrics
from mpmetrics.decorators import around

NO_PREFIX = ""

F = TypeVar("F", bound=Callable[..., Any])
Labels = Mapping[str, object]  # constants, functions of nothing, functions of the response
Record = Callable[[Response], None]

_log = logging.getLogger("mpmetrics")


# ---- a request -----------------------------------------------------------------------------------


@dataclass
class _Visit:
    """One request, from its beginning to the moment at which its response is known."""

    started: float = field(default_factory=time.perf_counter)
    tracked: bool = True  # by what counts all requests
    excluded: bool = False  # from everything
    waiting: list[Record] = field(default_factory=list)
    finished: bool = False


def _visit() -> _Visit:
    # Not in flask.g: that is the application context's, which tests keep for several requests.
    visit: _Visit | None = request.environ.get("mpmetrics.visit")
    if visit is None:
        visit = request.environ["mpmetrics.visit"] = _Visit()
    return visit


def _begin() -> None:
    _visit()


def _finish(response: Response) -> Response:
    visit = _visit()
    if not visit.finished:  # an error in an after_request brings a second response
        visit.finished = True
        for record in visit.waiting:
            record(response)
        seconds = time.perf_counter() - visit.started
        for defaults in _wanted_defaults(visit):
            defaults.duration.record(seconds, response)
            defaults.total.record(seconds, response)
    return response


def _tear_down(error: BaseException | None) -> None:
    """Whatever the application makes of an error that no handler took, it was one."""
    if error is not None:
        response = make_response("", 500)
        for defaults in _wanted_defaults(_visit()):
            defaults.exceptions.record(0.0, response)
        _finish(response)  # in case that there was none: tests let errors through


def _wanted_defaults(visit: _Visit) -> list[_Defaults]:
    """What counts all requests of this application, and so this one."""
    everything: list[_Defaults] = current_app.extensions["mpmetrics"] if visit.tracked else []
    return [each for each in everything if not each.total.owner.excludes(request.path)]


@contextmanager
def _left_out(of_everything: bool) -> Iterator[None]:
    """What a view runs in that isn't to be counted."""
    if has_request_context():
        visit = _visit()
        visit.tracked = False
        visit.excluded |= of_everything
    yield


# ---- metrics as decorators -----------------------------------------------------------------------


def _takes_response(value: object) -> bool:
    if not callable(value):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:  # some builtins have none
        return False
    return any(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)


def _source(value: Any) -> Callable[[Response | None], object]:
    """A label's value as a function of the response."""
    takes_response: Callable[[Response | None], object] = value
    if _takes_response(value):
        return takes_response
    return (lambda response: value()) if callable(value) else (lambda response: value)


class _Decorator:
    """A metric that counts the calls of what it decorates; this one how long they take."""

    def __init__(self, owner: PrometheusMetrics, metric: Any, labels: Labels, first: bool) -> None:
        self.owner = owner
        self.metric = metric
        self._waits = any(_takes_response(value) for value in labels.values())
        self._sources = [_source(value) for value in labels.values()]
        if not labels or (first and not any(callable(value) for value in labels.values())):
            self._show(self._child(None))

    def __call__(self, function: F, of_all: bool = False) -> F:
        """The function, counted; `of_all`: unless it says that what counts all should not."""
        return around(lambda: self._call(of_all), function)

    def record(self, seconds: float, response: Response | None) -> None:
        """Counts one call."""
        child = self._child(response)
        if child is not None:
            self._count(child, seconds)

    def _child(self, response: Response | None) -> Any:
        """The series that this request belongs to; None if that can't be told."""
        try:
            values = [source(response) for source in self._sources]
            return self.metric.labels(*values) if values else self.metric
        except Exception:
            _log.exception("a call isn't counted: a label of %s can't be told", self.metric)
            return None

    def _is_wanted(self, of_all: bool) -> bool:
        if not has_request_context():
            return True
        visit = _visit()
        return not (
            visit.excluded
            or (of_all and not visit.tracked)
            or (self.owner.exclude_user_defaults and self.owner.excludes(request.path))
        )

    @contextmanager
    def _call(self, of_all: bool) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            if self._is_wanted(of_all):
                if self._waits and has_request_context():
                    _visit().waiting.append(partial(self.record, seconds))
                else:
                    self.record(seconds, None)

    def _show(self, child: Any) -> None:
        """Shows a first 0; that there is a series is enough."""

    def _count(self, child: Any, seconds: float) -> None:
        child.observe(seconds)


class _Counting(_Decorator):
    """Counts them."""

    def _count(self, child: Any, seconds: float) -> None:
        child.inc()


class _InProgress(_Decorator):
    """Counts those that haven't ended."""

    @contextmanager
    def _call(self, of_all: bool) -> Iterator[None]:
        child = self._child(None) if self._is_wanted(of_all) else None
        with nullcontext() if child is None else child.track_inprogress():
            yield

    def _show(self, child: Any) -> None:
        child.set(0)  # a gauge with a mode shows only what was written


class _Defaults(NamedTuple):
    """What counts all requests."""

    duration: _Decorator
    total: _Decorator
    exceptions: _Decorator


_shared: weakref.WeakKeyDictionary[object, dict[str, Any]] = weakref.WeakKeyDictionary()


def _once(cls: Any, *args: Any, registry: Any, **options: Any) -> Any:
    """
    The registry's one metric of this name and shape, whoever asks for it.

    Raises ValueError ("Duplicated timeseries in CollectorRegistry: ...") if it has another one."""
    known = _shared.setdefault(registry, {})
    key = repr((cls, args, options))
    if key not in known:
        known[key] = cls(*args, registry=registry, **options)
    else:
        with suppress(ValueError):  # that it is registered; but tests empty registries
            registry.register(known[key])
    return known[key]


# ---- what applications use -----------------------------------------------------------------------


class PrometheusMetrics:
    """
    Counts the requests of Flask applications, and serves what all their workers counted.

    `app` None: it is given to `init_app` later. `path` None: no page. `group_by` tells durations
    apart by a property of the request ("path", "endpoint", "url_rule") or a function of it; where
    visitors make paths up, take "url_rule". `default_labels` are labels of every metric made here
    but `info`. `excluded_paths` are regular expressions for how a path begins, and hold for more
    than the default metrics if `exclude_user_defaults`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        path: str | None = "/metrics",
        export_defaults: bool = True,
        defaults_prefix: str | None = "flask",
        group_by: str | Callable[[Any], object] = "path",
        buckets: Sequence[float | str] | None = None,
        default_latency_as_histogram: bool = True,
        default_labels: Labels | None = None,
        *,
        excluded_paths: str | Sequence[str] | None = None,
        exclude_user_defaults: bool = True,
        metrics_decorator: Callable[[Any], Any] | None = None,
        registry: prometheus_client.CollectorRegistry | None = None,
    ) -> None:
        patterns = [excluded_paths] if isinstance(excluded_paths, str) else excluded_paths or ()
        self.app = app
        self.path = path
        self.registry = mpmetrics.REGISTRY if registry is None else registry
        self.exclude_user_defaults = exclude_user_defaults
        self._excluded = [re.compile(pattern) for pattern in patterns]
        self._default_labels = dict(default_labels or {})
        self._page = mpmetrics.make_wsgi_app(self.registry)
        view = self.do_not_track()(lambda: self._page)  # Flask takes an application as an answer
        self._view = view if metrics_decorator is None else metrics_decorator(view)
        self._defaults: _Defaults | None = None
        if export_defaults:
            latency = partial(_once, mpmetrics.Summary)
            if default_latency_as_histogram:
                options = {"buckets": buckets} if buckets is not None else {}
                latency = partial(_once, mpmetrics.Histogram, **options)
            prefix = f"{defaults_prefix}_" if defaults_prefix else ""
            self._defaults = self._declare_defaults(prefix, latency, group_by)
        if app is not None:
            self.init_app(app)

    @classmethod
    def for_app_factory(cls, **kwargs: Any) -> PrometheusMetrics:
        """For applications that are made later, and given to `init_app`."""
        return cls(None, **kwargs)

    def init_app(self, app: Flask) -> None:
        """Counts the requests of this application, too, and gives it the page."""
        if "mpmetrics" not in app.extensions:
            app.extensions["mpmetrics"] = []
            app.before_request(_begin)
            app.after_request(_finish)
            app.teardown_request(_tear_down)
        known = [defaults.total.metric for defaults in app.extensions["mpmetrics"]]
        if self._defaults is not None and self._defaults.total.metric not in known:
            app.extensions["mpmetrics"].append(self._defaults)
        if self.path is not None:
            self.register_endpoint(self.path, app)

    def excludes(self, path: str) -> bool:
        """Is it one of `excluded_paths`?"""
        return any(pattern.match(path) for pattern in self._excluded)

    # ---- the page ----

    def register_endpoint(self, path: str, app: Flask | None = None) -> None:
        """Serves the metrics at this path of the application."""
        self._app(app).add_url_rule(path, "prometheus_metrics", self._view)

    def start_http_server(
        self,
        port: int,
        host: str = "0.0.0.0",
        endpoint: str = "/metrics",
        ssl: Mapping[str, str] | None = None,
    ) -> None:
        """Serves them at a port of their own: one of the workers that call this does, then another.

        `ssl` has the paths of a certificate, `cert`, and of its key, `key`."""
        cert, key = (ssl["cert"], ssl["key"]) if ssl else (None, None)
        mpmetrics.start_http_server(
            port, host, self.registry, cert, key, path=endpoint, shared=True
        )

    def generate_metrics(
        self, accept_header: str | None = None, names: Sequence[str] | None = None
    ) -> tuple[str, str]:
        """The page as a client is sent it that accepts this, and its content type."""
        headers = [("Accept", accept_header)] if accept_header else []
        query = urlencode([("name[]", name) for name in names or ()])
        environ = EnvironBuilder(headers=headers, query_string=query).get_environ()
        response = Response.from_app(self._page, environ)
        return response.get_data(as_text=True), response.headers["Content-Type"]

    # ---- metrics ----

    def counter(
        self, name: str, description: str, labels: Labels | None = None, **kwargs: Any
    ) -> _Decorator:
        """
        A decorator that counts calls.

        `labels`: names, each with a constant, a function of nothing or one of the response. If all
        are constants, the metric shows 0 before the first call, but with
        `initial_value_when_only_static_labels=False`. Other arguments are the metric's own."""
        return self._decorator(_Counting, mpmetrics.Counter, name, description, labels, **kwargs)

    def summary(
        self, name: str, description: str, labels: Labels | None = None, **kwargs: Any
    ) -> _Decorator:
        """A decorator that observes in a summary how long calls take; otherwise as `counter`."""
        return self._decorator(_Decorator, mpmetrics.Summary, name, description, labels, **kwargs)

    def histogram(
        self, name: str, description: str, labels: Labels | None = None, **kwargs: Any
    ) -> _Decorator:
        """A decorator that observes in a histogram how long calls take; otherwise as `counter`."""
        return self._decorator(_Decorator, mpmetrics.Histogram, name, description, labels, **kwargs)

    def gauge(
        self, name: str, description: str, labels: Labels | None = None, **kwargs: Any
    ) -> _Decorator:
        """
        A decorator that counts calls in progress; otherwise as `counter`.

        Raises TypeError for a label that takes the response, which there isn't yet."""
        if any(
            _takes_response(value) for value in {**(labels or {}), **self._default_labels}.values()
        ):
            raise TypeError(f"{name} counts before there is a response that its labels could take")
        options = {"multiprocess_mode": "livesum", **kwargs}
        return self._decorator(_InProgress, mpmetrics.Gauge, name, description, labels, **options)

    def info(
        self,
        name: str,
        description: str,
        labelnames: Sequence[str] | None = None,
        labelvalues: Sequence[object] | None = None,
        **labels: object,
    ) -> mpmetrics.Gauge:
        """A gauge of value 1 whose labels tell something of the application."""
        if labels and labelnames:
            raise ValueError("give either names and values of labels, or labels by keyword")
        names, values = tuple(labelnames or labels), tuple(labelvalues or labels.values())
        gauge = mpmetrics.Gauge(
            name, description, names, registry=self.registry, multiprocess_mode="livemax"
        )
        child = gauge.labels(*values) if names else gauge
        child.set(1)
        return child

    def register_default(self, *decorators: _Decorator, app: Flask | None = None) -> None:
        """Decorates every view that the application has by now."""
        views = self._app(app).view_functions
        for endpoint in views:
            for decorator in decorators:
                views[endpoint] = decorator(views[endpoint], of_all=True)

    @staticmethod
    def do_not_track() -> Callable[[F], F]:
        """A decorator for views that what counts all requests leaves out."""
        return partial(around, lambda: _left_out(of_everything=False))

    @staticmethod
    def exclude_all_metrics() -> Callable[[F], F]:
        """A decorator for views that every metric leaves out."""
        return partial(around, lambda: _left_out(of_everything=True))

    def _app(self, app: Flask | None) -> Flask:
        return app or self.app or current_app

    def _decorator(
        self,
        kind: type[_Decorator],
        declare: Callable[..., Any],
        name: str,
        description: str,
        labels: Labels | None,
        initial_value_when_only_static_labels: bool = True,
        **options: Any,
    ) -> _Decorator:
        every = {**(labels or {}), **self._default_labels}
        metric = declare(name, description, tuple(every), registry=self.registry, **options)
        return kind(self, metric, every, initial_value_when_only_static_labels)

    def _declare_defaults(
        self, prefix: str, latency: Callable[..., Any], group_by: str | Callable[[Any], object]
    ) -> _Defaults:
        if callable(group_by):
            group = {re.sub(r"\W", "_", group_by.__name__): lambda: group_by(request)}
        else:
            group = {group_by: lambda: getattr(request, group_by)}
        method = {"method": lambda: request.method}
        answered = {**method, "status": lambda response: response.status_code}
        counter = partial(_once, mpmetrics.Counter)
        _once(
            mpmetrics.Gauge,
            f"{prefix}exporter_info",
            "What counts the requests: mpmetrics.",
            ("version",),
            registry=self.registry,
            multiprocess_mode="livemax",
        ).labels(version("mpmetrics")).set(1)
        return _Defaults(
            duration=self._decorator(
                _Decorator,
                latency,
                f"{prefix}http_request_duration_seconds",
                "How long requests took.",
                {**answered, **group},
            ),
            total=self._decorator(
                _Counting, counter, f"{prefix}http_request_total", "Requests answered.", answered
            ),
            exceptions=self._decorator(
                _Counting,
                counter,
                f"{prefix}http_request_exceptions_total",
                "Exceptions that no handler took.",
                {**method, "status": 500},
            ),
        )
