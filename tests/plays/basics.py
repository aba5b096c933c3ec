"""What processes of several plays do; called in an interpreter of its own and in its children."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.concurrency.actors import Actor
from tests.concurrency.declaring import KEPT, both, declare_with, page

import mpmetrics
from mpmetrics import store

__all__ = ["KEPT", "Actor", "actors", "both", "call", "have", "page", "statistics"]


@contextmanager
def actors(method: str, count: int) -> Iterator[list[Actor]]:
    """That many children of this process."""
    with ExitStack() as stack:
        yield [stack.enter_context(Actor(method)) for _ in range(count)]


def have(kind: str, key: str, args: list[Any], options: dict[str, Any] | None = None) -> None:
    """Declares a metric, unless the process was forked from one that has it."""
    if key not in KEPT:
        declare_with(kind, key, args, options or {})


def call(key: str, labels: list[str], name: str, *args: Any) -> Any:
    """Calls a method of the metric, or of the child with these labels."""
    metric = KEPT[key].labels(*labels) if labels else KEPT[key]
    return getattr(metric, name)(*args)


def statistics() -> dict[str, Any]:
    numbers = store.current().statistics()
    return {name: value for name, value in numbers.items() if isinstance(value, int | float | str)}


def pid() -> int:
    return os.getpid()


def openmetrics(registry: Any = mpmetrics.REGISTRY) -> str:
    """A scrape by our renderer, as OpenMetrics."""
    from mpmetrics.exposition import render
    from mpmetrics.negotiation import Encoding, Format

    return render(registry, Encoding(Format.OPENMETRICS, "underscores")).decode()


def version_of_theirs() -> str:
    """The version of prometheus_client in this process, by what only the newer ones have."""
    import importlib.metadata

    import prometheus_client

    found = importlib.metadata.version("prometheus_client")
    assert ("tmp" in prometheus_client.__file__) == (found == "0.22.0"), prometheus_client.__file__
    return found


def counted(method: str, kind: str) -> list[dict[str, float]]:
    """One update by a child; then the removal of its series, by this process."""
    from .removal import KINDS

    options, (name, *args) = KINDS[kind]
    have(kind, "m", ["m", "h", ["who"]], options)
    with Actor(method) as actor:
        actor.do(have, kind, "m", ["m", "h", ["who"]], options)
        actor.do(call, "m", ["x"], name, *args)
        seen = [both()]
        KEPT["m"].remove_by_labels({"who": "x"})
        return [*seen, actor.do(both)]


ACCEPTS = [
    f"{kind}{escaping}"
    for kind in (
        "text/plain; version=0.0.4",
        "text/plain; version=1.0.0",
        "application/openmetrics-text; version=1.0.0",
    )
    for escaping in (
        "",
        "; escaping=underscores",
        "; escaping=allow-utf-8",
        "; escaping=dots",
        "; escaping=values",
    )
]


def statuses() -> dict[str, str]:
    """What a scrape with each Accept header gets, of our metrics and prometheus_client's."""
    have("Counter", "m", ["m", "h"])
    have("Info", "i", ["i", "h"])
    found: dict[str, str] = {}
    for accept in ACCEPTS:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "HTTP_ACCEPT": accept}

        def start(status: str, headers: Any, accept: str = accept) -> None:
            found[accept] = status

        body = b"".join(mpmetrics.make_wsgi_app()(environ, start))
        assert b"m_total" in body or b"m__total" in body or found[accept] != "200 OK", accept
    return found
