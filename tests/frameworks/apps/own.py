"""What every application here has beside its library's metrics, and who answered.

It knows prometheus_client only.
"""

import os
import time

from prometheus_client import Counter, Enum, Info

BUILD = Info("shop_build", "What is running.")
BUILD.info({"version": "1.2"})
STATE = Enum("shop_state", "How it does.", states=["starting", "ready"])
STATE.state("ready")
JOBS = Counter("shop_jobs", "Requests that did something.")


def work():
    """One request, traced; it takes long enough for the other worker to get a turn."""
    JOBS.inc(exemplar={"trace_id": "abc"})
    time.sleep(0.002)


class WsgiPid:
    """The application, each answer with the process that gave it in X-Pid."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        def start(status, headers, *more):
            return start_response(status, [*headers, ("X-Pid", str(os.getpid()))], *more)

        return self.app(environ, start)


class AsgiPid:
    """The same."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_with_pid(message):
            if message["type"] == "http.response.start":
                pid = (b"x-pid", str(os.getpid()).encode())
                message = {**message, "headers": [*message["headers"], pid]}
            await send(message)

        await self.app(scope, receive, send_with_pid)


async def add_pid(request, response):
    """The same, for aiohttp's `on_response_prepare`."""
    response.headers["X-Pid"] = str(os.getpid())
