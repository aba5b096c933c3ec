"""A program of several processes, one of which serves both registries in every way there is.

    python -m tests.readers.serving METHOD [CERTIFICATE KEY CLIENTS_CA]

Says where each way serves each registry, once two of the crew have counted: {way: {registry:
url}}, or the name of what isn't installed. Given a line, it lets the third count, and says so.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import prometheus_client

import mpmetrics

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

Registries = Mapping[str, prometheus_client.CollectorRegistry]
Served = dict[str, int]  # the port of each registry


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def in_thread(function: Callable[..., object], *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def by_wsgiref(app: WSGIApplication) -> int:
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    in_thread(server.serve_forever)
    return server.server_port


def http(library: Any, tls: Mapping[str, object], registries: Registries) -> Served:
    started = {
        which: library.start_http_server(0, "127.0.0.1", registry, **tls)
        for which, registry in registries.items()
    }
    return {which: server.server_port for which, (server, _) in started.items()}


def wsgi(registries: Registries) -> Served:
    return {
        which: by_wsgiref(prometheus_client.make_wsgi_app(registry))
        for which, registry in registries.items()
    }


def asgi(registries: Registries) -> Served:
    import uvicorn

    ports = {}
    for which, registry in registries.items():
        app = prometheus_client.make_asgi_app(registry)
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        in_thread(uvicorn.Server(config).run, [listening])
        ports[which] = listening.getsockname()[1]
    return ports


def django(registries: Registries) -> Served:
    import types

    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.urls import path
    from prometheus_client.django import PrometheusDjangoView

    urls = types.ModuleType("tests_readers_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path(f"{which}/metrics", PrometheusDjangoView.as_view(registry=registry))
        for which, registry in registries.items()
    ]
    settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], SECRET_KEY="of a test")
    app = get_wsgi_application()

    def below(which: str) -> WSGIApplication:
        return lambda environ, start: app(
            {**environ, "PATH_INFO": f"/{which}{environ['PATH_INFO']}"}, start
        )

    return {which: by_wsgiref(below(which)) for which in registries}


def aiohttp(registries: Registries) -> Served:
    from aiohttp import web
    from prometheus_client.aiohttp import make_aiohttp_handler

    async def start() -> Served:
        ports = {}
        for which, registry in registries.items():
            app = web.Application()
            app.router.add_get("/metrics", make_aiohttp_handler(registry))
            runner = web.AppRunner(app)
            await runner.setup()
            listening = socket.create_server(("127.0.0.1", 0))
            await web.SockSite(runner, listening).start()
            ports[which] = listening.getsockname()[1]
        return ports

    loop = asyncio.new_event_loop()
    ports = loop.run_until_complete(start())
    in_thread(loop.run_forever)
    return ports


def twisted(registries: Registries) -> Served:
    from prometheus_client.twisted import MetricsResource
    from twisted.internet import reactor
    from twisted.web.server import Site

    ports = {
        which: reactor.listenTCP(0, Site(MetricsResource(registry)), interface="127.0.0.1")
        for which, registry in registries.items()
    }
    in_thread(reactor.run, False)
    return {which: port.getHost().port for which, port in ports.items()}


def ways(certificate: list[str]) -> dict[str, Callable[[Registries], Served]]:
    """Everything that isn't ours is prometheus_client's own; TLS, if there is a certificate."""
    plain: dict[str, object] = {}
    tls = dict(zip(("certfile", "keyfile", "client_cafile"), certificate, strict=False))
    tls_ways = {
        f"{name} TLS": lambda registries, library=library: http(
            library, {**tls, "client_auth_required": True}, registries
        )
        for name, library in (("ours", mpmetrics), ("theirs", prometheus_client))
    }
    return {
        "ours": lambda registries: http(mpmetrics, plain, registries),
        "theirs": lambda registries: http(prometheus_client, plain, registries),
        "wsgi": wsgi,
        "asgi": asgi,
        "django": django,
        "aiohttp": aiohttp,
        "twisted": twisted,
        **(tls_ways if tls else {}),
    }


def main(method: str, *certificate: str) -> None:
    from tests.readers import crew

    go = multiprocessing.get_context(method).Event()
    first = crew.start(method, range(2))
    last = crew.start(method, range(2, crew.WORKERS), go)
    crew.end(first)
    served: dict[str, Served | str] = {}
    for way, start in ways(list(certificate)).items():
        try:
            served[way] = start(crew.REGISTRIES)
        except ImportError as error:
            served[way] = str(error.name)
    print(json.dumps(served), flush=True)
    sys.stdin.readline()
    go.set()
    crew.end(last)
    print("counted", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
