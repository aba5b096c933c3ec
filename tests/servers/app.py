"""The application that every server serves: three metrics, work to do, and a page of /metrics.

`wsgi` and `asgi` are the same application. Each answer says in X-Pid which process gave it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from mpmetrics import Counter, Gauge, Histogram, generate_latest, make_asgi_app, make_wsgi_app

REQUESTS = Counter("requests", "Requests answered, or tasks done.")
SECONDS = Histogram("seconds", "Time that each took, as the application says.", buckets=(0.2, 0.5))
LEVEL = Gauge("level", "Goes up by two with each.")


def count() -> None:
    """One request, or one task. What it adds is exact in any order."""
    REQUESTS.inc()
    SECONDS.observe(0.25)
    LEVEL.inc(2)


def work() -> int:
    """One task; says which process did it."""
    count()
    time.sleep(0.002)  # so that the other worker gets a turn
    return os.getpid()


def page() -> tuple[int, str]:
    """A scrape by whichever process does this task."""
    time.sleep(0.002)
    return os.getpid(), generate_latest().decode()


metrics_wsgi = make_wsgi_app()
metrics_asgi = make_asgi_app()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return start_response(status, [*headers, ("X-Pid", str(os.getpid()))], exc_info)

    if environ["PATH_INFO"] == "/metrics":
        return metrics_wsgi(environ, start)
    work()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    async def send_with_pid(message: Any) -> None:
        if message["type"] == "http.response.start":
            pid = (b"x-pid", str(os.getpid()).encode())
            message = {**message, "headers": [*message["headers"], pid]}
        await send(message)

    if scope["type"] != "http" or scope["path"] == "/metrics":
        await metrics_asgi(scope, receive, send_with_pid)
        return
    work()  # holds the event loop, so that the other worker gets a turn
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"3")]
    await send_with_pid({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n"})
