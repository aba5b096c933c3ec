"""Every instrumentation library that is tried, in an application as its documentation has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# gunicorn 27's control socket has one path for a user; two runs of the tests would meet there.
G = "gunicorn --no-control-socket --bind 127.0.0.1:8000 --workers 2"
_AIOHTTP = f"{G} -k aiohttp.GunicornWebWorker"
U = "uvicorn --port 8000 --workers 2"


@dataclass(frozen=True)
class Library:
    """One library under one server; the application's file is the one that the command names."""

    package: str  # as the package index calls it
    command: str
    counted: tuple[str, ...]  # samples that are one more after each request
    idle: tuple[str, ...] = ()  # samples that are 0 while nobody asks
    openmetrics: str | None = None  # the path of its OpenMetrics page
    traced: str = "shop_jobs_total"  # has an exemplar there
    multiprocess: bool = False  # with the settings for prometheus_client's multi-process mode
    beside: tuple[str, ...] = ()  # other files of the application

    @property
    def app(self) -> str:
        return self.command.rpartition(" ")[2].partition(":")[0] + ".py"


_FLASK = (
    'flask_http_request_total{method="GET",status="200"}',
    'flask_http_request_duration_seconds_count{method="GET",path="/work",status="200"}',
    'by_path_total{path="work"}',
)
_FASTAPI = Library(
    "prometheus-fastapi-instrumentator",
    f"{U} fastapi_app:app",
    (
        'http_requests_total{handler="/work",method="GET",status="2xx"}',
        'http_request_duration_seconds_count{handler="/work",method="GET"}',
        'http_response_size_bytes_count{handler="/work"}',
    ),
    idle=('http_requests_inprogress{handler="/work",method="GET"}',),
)
_STARLETTE_LABELS = 'app_name="starlette",method="GET",path="/work",status_code="200"'
_STARLETTE = Library(
    "starlette_exporter",
    f"{U} starlette_app:app",
    (
        f"starlette_requests_total{{{_STARLETTE_LABELS}}}",
        f"starlette_request_duration_seconds_count{{{_STARLETTE_LABELS}}}",
    ),
    openmetrics="/openmetrics",
    traced=f"starlette_requests_total{{{_STARLETTE_LABELS}}}",
)
_DJANGO = Library(
    "django-prometheus",
    f"{G} django_app:app",
    (
        "django_http_requests_total_by_view_transport_method_total"
        '{method="GET",transport="http",view="work"}',
        "django_http_responses_total_by_status_view_method_total"
        '{method="GET",status="200",view="work"}',
        'django_http_requests_latency_seconds_by_view_method_count{method="GET",view="work"}',
    ),
)
_LITESTAR_LABELS = 'app_name="litestar",method="GET",path="/work",status_code="200"'
_LITESTAR = Library(
    "litestar",
    f"{U} litestar_app:app",
    (
        f"litestar_requests_total{{{_LITESTAR_LABELS}}}",
        f"litestar_request_duration_seconds_count{{{_LITESTAR_LABELS}}}",
    ),
    idle=(f"litestar_requests_in_progress{{{_LITESTAR_LABELS}}}",),
    openmetrics="/openmetrics",
    traced=f"litestar_requests_total{{{_LITESTAR_LABELS}}}",
)
_AIOHTTP_LABELS = 'method="GET",path_template="/work",remote="127.0.0.1",scheme="http"'


def _for_files(library: Library, **changed: object) -> Library:
    """The same with the settings for prometheus_client's multi-process mode."""
    return Library(**{**vars(library), "multiprocess": True, **changed})


WSGI: Mapping[str, Library] = {
    "prometheus_flask_exporter": Library(
        "prometheus_flask_exporter", f"{G} flask_app:app", _FLASK, openmetrics="/metrics"
    ),
    "prometheus_flask_exporter, multi-process": Library(
        "prometheus_flask_exporter",
        f"{G} --config flask_gunicorn_conf.py flask_multiprocess_app:app",
        _FLASK,
        openmetrics="/metrics",
        multiprocess=True,
        beside=("flask_gunicorn_conf.py",),
    ),
    "django-prometheus": _DJANGO,
    "django-prometheus, multi-process": _for_files(_DJANGO),
}
ASGI: Mapping[str, Library] = {
    "prometheus-fastapi-instrumentator": _FASTAPI,
    "prometheus-fastapi-instrumentator, multi-process": _for_files(_FASTAPI),
    "starlette_exporter": _STARLETTE,
    "starlette_exporter, multi-process": _for_files(_STARLETTE),
    "litestar": _LITESTAR,
    "litestar, multi-process": _for_files(_LITESTAR),
}
# Their documentation has no settings for the multi-process mode.
AIOHTTP: Mapping[str, Library] = {
    "prometheus-async": Library(
        "prometheus-async",
        f"{_AIOHTTP} async_app:app",
        ("req_time_seconds_count", 'req_time_seconds_bucket{le="+Inf"}'),
        idle=("req_in_progress", "req_failed_total"),
        openmetrics="/metrics",
    ),
    "aiohttp-prometheus-exporter": Library(
        "aiohttp-prometheus-exporter",
        f"{_AIOHTTP} aiohttp_app:app",
        (
            f"aiohttp_requests_total{{{_AIOHTTP_LABELS}}}",
            f'aiohttp_responses_total{{{_AIOHTTP_LABELS},status_code="200"}}',
            f'aiohttp_request_duration_seconds_count{{{_AIOHTTP_LABELS},status_code="200"}}',
        ),
        idle=(f"aiohttp_requests_in_progress{{{_AIOHTTP_LABELS}}}",),
    ),
}
# It sets the multi-process mode's variable itself, and serves the page in a process of its own.
DRAMATIQ = "dramatiq dramatiq_app --processes 2 --threads 1"

COMMANDS = {
    **{name: library.command for name, library in {**WSGI, **ASGI, **AIOHTTP}.items()},
    "dramatiq": DRAMATIQ,
}
