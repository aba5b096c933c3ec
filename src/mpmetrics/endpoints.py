"""
Metrics over HTTP: a WSGI app, an ASGI app, a server of our own, a handler for http.server.

All four answer through `_respond`, so they can't differ. What a client asked for is decided
in negotiation.py, and the page is written by exposition.py; here is only HTTP.
"""

import gzip
import logging
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Literal, Self, overload
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector

from . import originals, sharedport, store
from .exposition import render
from .negotiation import gzip_accepted, negotiate

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger("mpmetrics")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

# In prometheus_client's spelling, without blanks.
_ALLOW = ("Allow", "OPTIONS,GET,HEAD")

# Measured on 1.3 MB of histograms and counters (zlib 1.2.13, x86-64): level 1 takes 2.0 ms
# for 89 kB, 3 2.6 ms for 85 kB, 5 3.8 ms for 76 kB, 6 6.1 ms for 70 kB, and 9, which
# prometheus_client uses, 20.4 ms for 60 kB. 5 is the knee: past it 8% less costs 60% more.
_GZIP_LEVEL = 5

# Prometheus gives a whole scrape 10 s unless told otherwise.
_HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: bytes
    accept: str | None
    accept_encoding: str | None


@dataclass(frozen=True)
class _Response:
    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class _Endpoint:
    """What the four kinds of endpoint have in common."""

    registry: Collector
    disable_compression: bool = False
    path: str | None = None  # None: every path

    def __post_init__(self) -> None:
        # Who serves has a store, if only to hand it down: its children may be the first to declare
        # a metric, and would each have one of their own.
        if isinstance(self.registry, CollectorRegistry):
            store.current()

    def respond(self, request: _Request) -> _Response:
        """The answer to any request at all; a collector's exception is a 500."""
        response = self._get_or_refuse(request)
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        # HEAD costs a scrape: nothing less knows the length that GET would announce.
        body = b"" if request.method == "HEAD" else response.body
        return _Response(response.status, headers, body)

    def _get_or_refuse(self, request: _Request) -> _Response:
        if self.path is not None and _slashed(request.path) != _slashed(self.path):
            return _text(HTTPStatus.NOT_FOUND, f"the metrics are at {self.path}")
        if request.method == "OPTIONS":
            return _text(HTTPStatus.OK, "", _ALLOW)
        if request.method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "use OPTIONS, GET or HEAD", _ALLOW)
        if request.path == "/favicon.ico":
            # For browsers, which ask for it beside the page they were told to show.
            return _text(HTTPStatus.OK, "")
        try:
            return self._scrape(request)
        except Exception:
            # Raised on, it would be a 500 too, but in each server's own way: wsgiref prints
            # the traceback to stderr, http.server drops the connection. The reason goes to
            # the log only, since whoever may scrape need not see the program's insides.
            _log.exception("a scrape failed: a collector raised an exception")
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "a collector failed, see the log")

    def _scrape(self, request: _Request) -> _Response:
        encoding = negotiate(request.accept)
        # Names may be any UTF-8 and come quoted or raw; what isn't UTF-8 is nobody's name.
        names = parse_qs(request.query.decode("utf-8", "replace")).get("name[]")
        body = render(self.registry, encoding, None if names is None else frozenset(names))
        headers = [("Content-Type", encoding.content_type)]
        # prometheus_client sends no Vary. Without it a cache in front (nginx, a CDN) may
        # give one client's OpenMetrics or gzip to another that can't read it.
        if self.disable_compression:
            return _Response(HTTPStatus.OK, [*headers, ("Vary", "Accept")], body)
        headers.append(("Vary", "Accept, Accept-Encoding"))
        if gzip_accepted(request.accept_encoding):
            # Without the time of day: equal scrapes are equal bytes.
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return _Response(HTTPStatus.OK, headers, body)


def make_wsgi_app(
    registry: Collector = REGISTRY,
    disable_compression: bool = False,
    *,
    path: str | None = None,
) -> "WSGIApplication":
    """
    A WSGI app that serves a registry: mount it, or give it to any WSGI server.

    It answers every path, as prometheus_client's does; with `path` it answers that one, below
    where it is mounted, and others are 404. An exception in a collector is a 500 and one
    record of the logger "mpmetrics"; middleware does not see it.
    """
    endpoint = _Endpoint(registry, disable_compression, path)

    def metrics_app(environ: "WSGIEnvironment", start_response: "StartResponse") -> list[bytes]:
        response = endpoint.respond(
            _Request(
                method=environ["REQUEST_METHOD"],
                path=environ.get("PATH_INFO", ""),
                query=_latin_1(environ.get("QUERY_STRING", "")),
                accept=environ.get("HTTP_ACCEPT"),
                accept_encoding=environ.get("HTTP_ACCEPT_ENCODING"),
            )
        )
        status = response.status
        start_response(f"{status.value} {status.phrase}", response.headers)
        return [response.body]

    return metrics_app


def make_asgi_app(
    registry: Collector = REGISTRY,
    disable_compression: bool = False,
    *,
    path: str | None = None,
) -> ASGIApplication:
    """
    An ASGI app that serves a registry: mount it, or run it bare, under any event loop.

    The answers are `make_wsgi_app`'s. It also answers lifespan, and closes websockets.
    The event loop waits while the page is made: milliseconds, but as long as your slowest
    custom collector takes.
    """
    return _AsgiApp(_Endpoint(registry, disable_compression, path))


@dataclass(frozen=True)
class _AsgiApp:
    """
    An object, no function: Starlette takes a function for one of its own kind.

    So `Route("/metrics", make_asgi_app())` serves /metrics, which a Mount redirects to /metrics/.
    """

    endpoint: _Endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _asgi_http(self.endpoint, scope, receive, send)
        elif scope["type"] == "lifespan":
            await _asgi_lifespan(receive, send)
        elif scope["type"] == "websocket":
            # Closed before it was accepted: the server answers the handshake with 403.
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            # The specification wants an exception, so that the server can tell.
            raise ValueError(f"mpmetrics can't serve the ASGI scope {scope['type']!r}")


@overload
def start_http_server(
    port: int,
    addr: str = "0.0.0.0",
    registry: Collector = REGISTRY,
    certfile: str | None = None,
    keyfile: str | None = None,
    client_cafile: str | None = None,
    client_capath: str | None = None,
    protocol: int = ssl.PROTOCOL_TLS_SERVER,
    client_auth_required: bool = False,
    tls_min_version: ssl.TLSVersion | None = None,
    tls_max_version: ssl.TLSVersion | None = None,
    *,
    path: str | None = None,
    shared: Literal[False] = False,
) -> tuple[WSGIServer, threading.Thread]: ...
@overload
def start_http_server(
    port: int,
    addr: str = "0.0.0.0",
    registry: Collector = REGISTRY,
    certfile: str | None = None,
    keyfile: str | None = None,
    client_cafile: str | None = None,
    client_capath: str | None = None,
    protocol: int = ssl.PROTOCOL_TLS_SERVER,
    client_auth_required: bool = False,
    tls_min_version: ssl.TLSVersion | None = None,
    tls_max_version: ssl.TLSVersion | None = None,
    *,
    path: str | None = None,
    shared: bool,
) -> tuple[WSGIServer | None, threading.Thread]: ...
def start_http_server(
    port: int,
    addr: str = "0.0.0.0",
    registry: Collector = REGISTRY,
    certfile: str | None = None,
    keyfile: str | None = None,
    client_cafile: str | None = None,
    client_capath: str | None = None,
    protocol: int = ssl.PROTOCOL_TLS_SERVER,
    client_auth_required: bool = False,
    tls_min_version: ssl.TLSVersion | None = None,
    tls_max_version: ssl.TLSVersion | None = None,
    *,
    path: str | None = None,
    shared: bool = False,
) -> tuple[WSGIServer | None, threading.Thread]:
    """
    Serve a registry from a daemon thread of this process; returns the server and the thread.

    With a certificate and a key it speaks TLS. Port 0 takes a free one: `server.server_port`.
    Close it with `server.shutdown()`, then `server.server_close()`. The server is
    prometheus_client's, a thread per request, and the two last TLS options need a
    prometheus_client that has them: an older one raises TypeError.

    `shared`: whoever comes first serves, and the others wait for the port, which they look at each
    second: for workers that all run this line. The server is None for who waits. That it is a
    sibling who has the port isn't checked.
    """
    if bool(certfile) != bool(keyfile) or (client_auth_required and not certfile):
        # prometheus_client would serve plain HTTP without a word.
        raise ValueError(
            "TLS needs both certfile and keyfile, and client_auth_required needs TLS.\n"
            "If one file holds both, give it twice."
        )
    given: dict[str, Any] = {
        "certfile": certfile,
        "keyfile": keyfile,
        "client_cafile": client_cafile,
        "client_capath": client_capath,
        "client_auth_required": client_auth_required or None,
        "tls_min_version": tls_min_version,
        "tls_max_version": tls_max_version,
    }
    # Only what was asked for, so that the options a version doesn't know don't matter.
    options = {name: value for name, value in given.items() if value is not None}

    def start() -> tuple[WSGIServer, threading.Thread]:
        return _start(port, addr, registry, {"protocol": protocol, **options}, path)

    return sharedport.start(start, f"{addr}:{port}") if shared else start()


def _start(
    port: int, addr: str, registry: Collector, options: Mapping[str, Any], path: str | None
) -> tuple[WSGIServer, threading.Thread]:
    server, thread = originals.start_http_server(port, addr, registry, **options)
    # Making the server ourselves would need prometheus_client's private TLS code, or a copy.
    # So it listens already with prometheus_client's own app; a request in these microseconds
    # gets a valid page of the same registry.
    server.set_app(make_wsgi_app(registry, path=path))
    if isinstance(server.socket, ssl.SSLSocket):
        _shake_hands_in_threads(server, server.socket)
    return server, thread


start_wsgi_server = start_http_server


class MetricsHandler(BaseHTTPRequestHandler):
    """
    Metrics for a program that has an `http.server` already; logs no requests.

    Give `HTTPServer` this class for the default registry, `MetricsHandler.factory(registry)`
    for another.
    """

    registry: Collector = REGISTRY

    @classmethod
    def factory(cls, registry: Collector) -> type[Self]:
        """A subclass that serves `registry`."""
        return type(cls.__name__, (cls,), {"registry": registry})

    def do_GET(self) -> None:
        """Answer any method: with the metrics, or with why not."""
        # Not urlsplit, which raises for a target like "http://[".
        path, _, query = self.path.partition("?")
        response = _Endpoint(self.registry).respond(
            _Request(
                method=self.command,
                path=path,
                query=_latin_1(query),
                accept=_joined(self.headers.get_all("Accept", [])),
                accept_encoding=_joined(self.headers.get_all("Accept-Encoding", [])),
            )
        )
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    # A method without one of these is answered 501 by http.server itself.
    do_HEAD = do_OPTIONS = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _shake_hands_in_threads(server: WSGIServer, listening: ssl.SSLSocket) -> None:
    """
    Let no TLS client keep the others, or `shutdown`, waiting.

    An SSLSocket shakes hands within `accept`, in the one thread that accepts: who connects
    and says nothing would stop all scrapes for as long as he likes.
    """
    # The typeshed doesn't know this attribute, which `accept` looks at. Should a later Python
    # forget it too, `do_handshake` below finds nothing left to do.
    listening.do_handshake_on_connect = False  # type: ignore[attr-defined]
    plain_handler: Any = server.RequestHandlerClass

    class Handler(plain_handler):  # type: ignore[misc]
        def handle(self) -> None:
            try:
                self.connection.settimeout(_HANDSHAKE_SECONDS)
                self.connection.do_handshake()
                self.connection.settimeout(None)
            except OSError:
                # Port scanners, load balancers: without a word, as when `accept` fails.
                return
            super().handle()

    server.RequestHandlerClass = Handler


async def _asgi_http(endpoint: _Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    if message["type"] == "http.disconnect":
        return
    # Called here, not in a thread: asyncio.to_thread would tie the app to asyncio (trio and
    # others run ASGI too), and rendering takes milliseconds, most of them without the GIL.
    response = endpoint.respond(
        _Request(
            method=scope["method"],
            path=_below_root(scope["path"], scope.get("root_path", "")),
            query=scope.get("query_string", b""),
            accept=_header(scope, b"accept"),
            accept_encoding=_header(scope, b"accept-encoding"),
        )
    )
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
    ]
    # What servers raise when the client has gone: a scrape that timed out is no error here.
    with suppress(OSError):
        await send(
            {
                "type": "http.response.start",
                "status": response.status.value,
                "headers": headers,
            }
        )
        await send({"type": "http.response.body", "body": response.body})


async def _asgi_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _header(scope: Scope, wanted: bytes) -> str | None:
    headers: Iterable[tuple[bytes, bytes]] = scope.get("headers", ())
    return _joined(value.decode("latin-1") for name, value in headers if name.lower() == wanted)


def _joined(values: Iterable[str]) -> str | None:
    """A header given several times is one list; None if it wasn't given."""
    return ",".join(values) or None


def _below_root(path: str, root: str) -> str:
    # Some frameworks leave the mount point in the path (the specification says so), some
    # took it away.
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def _slashed(path: str) -> str:
    # "/metrics/" is "/metrics", and a mounted app's "" is "/".
    return path.rstrip("/") + "/"


def _latin_1(text: str) -> bytes:
    """The bytes that WSGI and http.server spelt as text."""
    return text.encode("latin-1", "replace")


def _text(status: HTTPStatus, reason: str, *headers: tuple[str, str]) -> _Response:
    # "# ", like prometheus_client's: a reader that doesn't look at the status sees a comment.
    body = f"# HTTP {status.value} {status.phrase}: {reason}\n" if reason else ""
    content_type = ("Content-Type", "text/plain; charset=utf-8")
    return _Response(status, [*headers, content_type], body.encode())
