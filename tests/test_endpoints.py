"""Metrics over HTTP, asked for as scrapers, browsers and the curious do."""

import gzip
import http.client
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import closing, contextmanager
from http.server import HTTPServer
from urllib.parse import quote
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from mpmetrics.endpoints import (
    MetricsHandler,
    make_asgi_app,
    make_wsgi_app,
    start_http_server,
    start_wsgi_server,
)

TIMEOUT = 20
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture
def registry():
    """Two metrics of prometheus_client's own: what endpoints do has nothing to do with ours."""
    registry = CollectorRegistry()
    Counter("jobs", "Jobs done.", registry=registry).inc(3)
    Gauge("queue_length", "Jobs waiting.", registry=registry).set(7)
    return registry


class Broken:
    """A custom collector with a bug."""

    def describe(self):
        return []

    def collect(self):
        raise ZeroDivisionError("the secret of this program")


@pytest.fixture
def broken(registry):
    registry.register(Broken())
    return registry


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body
        assert len(headers) == len(self.headers), "a header was sent twice"

    def __eq__(self, other):
        """Equal but for what http.server adds to each answer."""
        return vars(self.bare()) == vars(other.bare())

    def bare(self):
        headers = {n: v for n, v in self.headers.items() if n not in ("date", "server")}
        return Answer(self.status, headers.items(), self.body)

    @property
    def text(self):
        if self.headers.get("content-encoding") == "gzip":
            return gzip.decompress(self.body).decode()
        return self.body.decode()

    @property
    def values(self):
        families = text_string_to_metric_families(self.text)
        samples = [sample for family in families for sample in family.samples]
        return {s.name: s.value for s in samples if not s.name.endswith("_created")}


@contextmanager
def running(server, thread):
    try:
        yield server.server_address[1]
    finally:
        stopper = threading.Thread(target=server.shutdown)
        stopper.start()
        # Wakes the server, which would otherwise see only after half a second that it is to end.
        socket.create_connection(server.server_address, timeout=TIMEOUT).close()
        stopper.join(TIMEOUT)
        server.server_close()
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def exchange(connection, method, target, headers):
    with closing(connection):
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())


def over_server(registry, method, target, headers, **options):
    """Over a real connection to `start_http_server`."""
    with running(*start_http_server(0, "127.0.0.1", registry, **options)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        return exchange(connection, method, target, headers)


def over_handler(registry, method, target, headers):
    """Over a real connection to http.server with our handler."""
    server = HTTPServer(("127.0.0.1", 0), MetricsHandler.factory(registry))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with running(server, thread) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        return exchange(connection, method, target, headers)


def over_wsgi(registry, method, target, headers, **options):
    """Through the WSGI app, held to the letter of PEP 3333 by the standard library."""
    path, _, query = target.partition("?")
    environ = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path}
    environ["QUERY_STRING"] = query
    environ |= {"HTTP_" + name.upper().replace("-", "_"): v for name, v in headers.items()}
    setup_testing_defaults(environ)
    started = []

    def start_response(status, headers, exc_info=None):
        started.append((int(status.split()[0]), headers))
        return lambda data: None

    chunks = validator(make_wsgi_app(registry, **options))(environ, start_response)
    with closing(chunks):
        body = b"".join(chunks)
    return Answer(*started[0], body)


def run_asgi(app, scope, *received):
    """Drive an ASGI app without any event loop; returns what it sent."""
    waiting, sent = list(received), []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    coroutine = app(scope, receive, send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return sent


def over_asgi(registry, method, target, headers, **options):
    """Through the ASGI app, driven by hand."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in headers.items()],
    }
    request = {"type": "http.request", "body": b"", "more_body": False}
    start, body = run_asgi(make_asgi_app(registry, **options), scope, request)
    assert ("http.response.start", "http.response.body") == (start["type"], body["type"])
    assert all(name == name.lower() for name, _ in start["headers"])
    assert not body.get("more_body", False)
    answered = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Answer(start["status"], answered, body["body"])


@pytest.fixture(params=[over_server, over_handler, over_wsgi, over_asgi])
def ask(request):
    """Every way to be asked: each must give the same answers."""

    def ask(registry, method="GET", target="/metrics", headers=None, **options):
        answer = request.param(registry, method, target, headers or {}, **options)
        if method != "HEAD":
            assert int(answer.headers["content-length"]) == len(answer.body)
        return answer

    return ask


@pytest.fixture(params=[over_server, over_wsgi, over_asgi])
def ask_app(request):
    """The ways that take options."""

    def ask(registry, method="GET", target="/metrics", headers=None, **options):
        return request.param(registry, method, target, headers or {}, **options)

    return ask


def test_get(ask, registry):
    """Who says nothing of formats gets every metric, as plain text 0.0.4, not compressed."""
    answer = ask(registry)

    assert (200, TEXT) == (answer.status, answer.headers["content-type"])
    assert "content-encoding" not in answer.headers
    assert {"jobs_total": 3, "queue_length": 7} == answer.values


def test_format_is_negotiated(ask, registry):
    """Prometheus gets OpenMetrics."""
    answer = ask(registry, headers={"Accept": PROMETHEUS})

    assert (200, OPENMETRICS) == (answer.status, answer.headers["content-type"])
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("target", ["/", "/metrics", "/metrics/", "/any/path", "//["])
def test_any_path(ask, registry, target):
    """Without `path` every path serves the metrics, as prometheus_client's does."""
    assert {"jobs_total": 3, "queue_length": 7} == ask(registry, target=target).values


def test_favicon(ask, registry):
    """A browser that asks for the icon too costs no scrape."""
    answer = ask(registry, target="/favicon.ico")

    assert (200, b"") == (answer.status, answer.body)


def test_head_announces_what_get_sends(ask, registry):
    """HEAD answers with the headers of GET, its length included, and without a body."""
    headers = {"Accept": PROMETHEUS, "Accept-Encoding": "gzip"}
    get = ask(registry, "GET", headers=headers)
    head = ask(registry, "HEAD", headers=headers)

    assert Answer(200, get.headers.items(), b"") == head
    assert "gzip" == head.headers["content-encoding"]


def test_options(ask, registry):
    """OPTIONS names the methods there are."""
    answer = ask(registry, "OPTIONS")

    assert (200, "OPTIONS,GET,HEAD", b"") == (answer.status, answer.headers["allow"], answer.body)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_methods(ask, registry, method):
    """A method that changes things is refused with those there are."""
    answer = ask(registry, method)

    assert (405, "OPTIONS,GET,HEAD") == (answer.status, answer.headers["allow"])
    assert answer.body == b"# HTTP 405 Method Not Allowed: use OPTIONS, GET or HEAD\n"


@pytest.mark.parametrize("target", ["/metrics", "/metrics/", "/metrics?name[]=jobs_total"])
def test_one_path(ask_app, registry, target):
    """With `path`, that path serves the metrics, with or without a slash at its end."""
    assert 200 == ask_app(registry, target=target, path="/metrics").status


@pytest.mark.parametrize("target", ["/", "/favicon.ico", "/metrics/more", "/metricsx", "/Metrics"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST", "HEAD"])
def test_other_paths(ask_app, registry, method, target):
    """With `path`, every other path is not found, and the answer says where to look."""
    answer = ask_app(registry, method, target, path="/metrics")

    body = b"" if method == "HEAD" else b"# HTTP 404 Not Found: the metrics are at /metrics\n"
    assert (404, body) == (answer.status, answer.body)


def test_gzip(ask, registry):
    """Who accepts gzip gets the same page compressed, and the same bytes each time."""
    plain = ask(registry)
    one = ask(registry, headers={"Accept-Encoding": "gzip"})
    two = ask(registry, headers={"Accept-Encoding": "gzip"})

    assert "gzip" == one.headers["content-encoding"]
    assert plain.text == one.text
    assert one == two
    assert bytes(4) == one.body[4:8], "the header holds no time"


@pytest.mark.parametrize("refusal", ["", "identity", "gzip;q=0", "deflate, br"])
def test_gzip_refused(ask, registry, refusal):
    """Who doesn't accept gzip doesn't get it."""
    answer = ask(registry, headers={"Accept-Encoding": refusal})

    assert "content-encoding" not in answer.headers
    assert 3 == answer.values["jobs_total"]


@pytest.mark.parametrize("over", [over_wsgi, over_asgi])
def test_compression_disabled(over, registry):
    """With disable_compression nobody gets gzip, and caches needn't know who would."""
    answer = over(registry, "GET", "/", {"Accept-Encoding": "gzip"}, disable_compression=True)

    assert "content-encoding" not in answer.headers
    assert "Accept" == answer.headers["vary"]


def test_caches_are_told(ask, registry):
    """A cache learns which request headers the page depends on."""
    assert "Accept, Accept-Encoding" == ask(registry).headers["vary"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name[]=jobs_total", {"jobs_total": 3}),
        ("name%5B%5D=queue_length&other=x", {"queue_length": 7}),
        ("name[]=jobs_total&name[]=queue_length", {"jobs_total": 3, "queue_length": 7}),
        ("name[]=jobs_total&name[]=nobody", {"jobs_total": 3}),
        ("name[]=nobody", {}),
        ("name[]=%FF%00", {}),
        ("name[]=", {"jobs_total": 3, "queue_length": 7}),
        ("name=jobs_total", {"jobs_total": 3, "queue_length": 7}),
    ],
)
def test_names(ask, registry, query, expected):
    """`name[]` leaves only those samples; a name nobody has gives an empty page."""
    answer = ask(registry, target="/metrics?" + query)

    assert (200, expected) == (answer.status, answer.values)


@pytest.mark.parametrize("spell", [quote, lambda name: name.encode().decode("latin-1")])
@pytest.mark.parametrize("over", [over_wsgi, over_asgi])
def test_names_in_utf_8(over, registry, spell):
    """A name outside ASCII is found whether the client quotes it or sends it raw."""
    Gauge("länge", "A name that Prometheus 3 allows.", registry=registry).set(5)

    answer = over(registry, "GET", "/?name[]=" + spell("länge"), {})
    assert " 5.0\n" in answer.text
    assert "jobs" not in answer.text


def test_empty_page_of_openmetrics(ask, registry):
    """An empty page of OpenMetrics is a valid one."""
    answer = ask(registry, target="/?name[]=nobody", headers={"Accept": PROMETHEUS})

    assert b"# EOF\n" == answer.body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_broken_collector(ask, broken, caplog, method):
    """A collector that raises is a 500 without its secrets, and one record in the log."""
    with caplog.at_level(logging.ERROR, "mpmetrics"):
        answer = ask(broken, method)

    assert 500 == answer.status
    if method == "GET":
        assert b"# HTTP 500 Internal Server Error: a collector failed, see the log\n" == answer.body
    [record] = caplog.records
    assert ("mpmetrics", logging.ERROR) == (record.name, record.levelno)
    assert "the secret of this program" in caplog.text


def test_broken_collector_does_not_break_the_server(broken, caplog):
    """The scrape after a failed one is served."""
    with running(*start_http_server(0, "127.0.0.1", broken)) as port:
        statuses = []
        for target in ("/", "/?name[]=jobs_total"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            statuses.append(exchange(connection, "GET", target, {}).status)

    assert [500, 200] == statuses


def test_repeated_headers_are_one_list(registry):
    """A client may spread its Accept header over several."""
    server = HTTPServer(("127.0.0.1", 0), MetricsHandler.factory(registry))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with (
        running(server, thread) as port,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection,
    ):
        connection.putrequest("GET", "/")
        connection.putheader("Accept", "text/plain;q=0.1")
        connection.putheader("Accept", "application/openmetrics-text;version=1.0.0")
        connection.endheaders()
        response = connection.getresponse()
        response.read()

    assert OPENMETRICS == response.headers["content-type"]


def test_handler_serves_the_default_registry():
    """The handler itself serves prometheus_client's REGISTRY; `factory` makes one for another."""
    import prometheus_client

    registry = CollectorRegistry()
    made = MetricsHandler.factory(registry)

    assert MetricsHandler.registry is prometheus_client.REGISTRY
    assert made.registry is registry
    assert issubclass(made, MetricsHandler)


def test_start_wsgi_server_is_start_http_server():
    """The server has both of prometheus_client's names."""
    assert start_wsgi_server is start_http_server


def test_server_thread_does_not_keep_the_program(registry):
    """The server's thread is a daemon: a program that ends need not stop it."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    with running(server, thread):
        assert thread.daemon
        assert server.get_app() is not None


def test_wsgi_mounted(registry):
    """Mounted by a framework, which takes the path away, the app serves its root."""
    assert 200 == over_wsgi(registry, "GET", "/", {}, path="/").status
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/metrics", "PATH_INFO": ""}
    setup_testing_defaults(environ)
    statuses = []
    make_wsgi_app(registry, path="/")(environ, lambda status, headers: statuses.append(status))

    assert ["200 OK"] == statuses


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "", "/"])
def test_asgi_mounted(registry, path):
    """Mounted, the app serves its root, whether or not the mount point is left in the path."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "/metrics",
        "query_string": b"",
        "headers": [],
    }
    request = {"type": "http.request", "body": b""}
    start, _ = run_asgi(make_asgi_app(registry, path="/"), scope, request)

    assert 200 == start["status"]


def test_asgi_client_gone(broken, caplog):
    """Nothing is rendered for a client that has left."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}

    assert [] == run_asgi(make_asgi_app(broken), scope, {"type": "http.disconnect"})
    assert [] == caplog.records


def test_asgi_client_leaves_meanwhile(registry):
    """A client that leaves before the answer is no error of the application."""

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        raise ConnectionResetError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(StopIteration):
        make_asgi_app(registry)(scope, receive, send).send(None)


def test_asgi_lifespan(registry):
    """The app may be run bare: it answers a server's startup and shutdown."""
    sent = run_asgi(
        make_asgi_app(registry),
        {"type": "lifespan"},
        {"type": "lifespan.startup"},
        {"type": "lifespan.shutdown"},
    )

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [m["type"] for m in sent]


def test_asgi_websocket(registry):
    """A websocket is refused."""
    [message] = run_asgi(
        make_asgi_app(registry), {"type": "websocket"}, {"type": "websocket.connect"}
    )

    assert "websocket.close" == message["type"]


def test_asgi_unknown_scope(registry):
    """A kind of scope that we don't know is an exception, as the specification wants."""
    with pytest.raises(ValueError, match="carrier pigeon"):
        make_asgi_app(registry)({"type": "carrier pigeon"}, None, None).send(None)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key: two paths."""
    folder = tmp_path_factory.mktemp("tls")
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    if not shutil.which("openssl"):
        pytest.skip("needs the program openssl to make a certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=mpmetrics test", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *names, "-out", certfile, "-keyout", keyfile],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    return str(certfile), str(keyfile)


def trusting(certfile):
    return ssl.create_default_context(cafile=certfile)


def over_tls(port, context):
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
    return exchange(connection, "GET", "/metrics", {"Accept-Encoding": "gzip"})


def test_tls(registry, certificate):
    """With a certificate and a key the server speaks TLS."""
    certfile, keyfile = certificate
    with running(*start_http_server(0, "127.0.0.1", registry, certfile, keyfile)) as port:
        answer = over_tls(port, trusting(certfile))

    assert {"jobs_total": 3, "queue_length": 7} == answer.values


def test_tls_client_certificate(registry, certificate, capfd):
    """With client_auth_required only who shows a certificate is served."""
    certfile, keyfile = certificate
    server = start_http_server(
        0, "127.0.0.1", registry, certfile, keyfile, certfile, client_auth_required=True
    )
    with running(*server) as port:
        known = trusting(certfile)
        known.load_cert_chain(certfile, keyfile)

        assert 200 == over_tls(port, known).status
        with pytest.raises(OSError):
            over_tls(port, trusting(certfile))
    assert "" == capfd.readouterr().err


def test_tls_silent_client(registry, certificate):
    """A TLS client that connects and says nothing keeps nobody waiting, nor the end."""
    certfile, keyfile = certificate
    with (
        running(*start_http_server(0, "127.0.0.1", registry, certfile, keyfile)) as port,
        closing(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)),
    ):
        assert 200 == over_tls(port, trusting(certfile)).status


def test_tls_plain_client(registry, certificate, capfd):
    """Who speaks plain HTTP to the TLS port is dropped, without a traceback on stderr."""
    certfile, keyfile = certificate
    with running(*start_http_server(0, "127.0.0.1", registry, certfile, keyfile)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        with pytest.raises((OSError, http.client.HTTPException)):
            exchange(connection, "GET", "/", {})
        assert 200 == over_tls(port, trusting(certfile)).status
    assert "" == capfd.readouterr().err


@pytest.mark.parametrize(
    "options", [{"certfile": "x"}, {"keyfile": "x"}, {"client_auth_required": True}]
)
def test_half_of_tls_is_an_error(registry, options):
    """Who asks for half of TLS never gets plain HTTP instead."""
    with pytest.raises(ValueError, match="both certfile and keyfile"):
        start_http_server(0, "127.0.0.1", registry, **options)


def test_port_in_use(registry):
    """A port that somebody has is an OSError, and no thread is left."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        before = threading.active_count()
        with pytest.raises(OSError, match="in use"):
            start_http_server(taken.getsockname()[1], "127.0.0.1", registry)

    assert threading.active_count() <= before  # of another test's one may have ended
