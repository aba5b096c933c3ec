"""One program of writes, deaths and scrapes, played on either library's gauges.

Nothing is imported from a library before a process needs it: prometheus_client looks for its folder
when it is imported, and gives a value to whatever is declared.
"""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from tests.concurrency.actors import Actor

GAUGES: dict[str, Any] = {}


def write(library: str, mode: str, how: str, amount: float) -> None:
    """Writes the gauge of that mode, which the process declares when it first needs it."""
    if mode not in GAUGES:
        gauge = importlib.import_module(library).Gauge
        GAUGES[mode] = gauge(f"g_{mode}", "h", multiprocess_mode=mode)
    getattr(GAUGES[mode], how)(amount)


def _text(library: str) -> str:
    import prometheus_client

    if library == "mpmetrics":
        import mpmetrics

        return mpmetrics.generate_latest(mpmetrics.REGISTRY).decode()
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = prometheus_client.CollectorRegistry()
    MultiProcessCollector(registry)
    return prometheus_client.generate_latest(registry).decode()


def _page(library: str, numbers: dict[str, str]) -> dict[str, float]:
    """Values by mode, those of one process by mode and the process's number in the program."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(_text(library)):
        for sample in family.samples:
            if sample.name.startswith("g_"):
                of = sample.labels.get("pid")
                key = sample.name.removeprefix("g_") + (f" {numbers[of]}" if of else "")
                assert key not in values, f"{key} is shown twice"
                values[key] = sample.value
    return values


def _end(library: str, actor: Actor, how: str) -> None:
    """Ends a process; prometheus_client has to be told."""
    (actor.kill if how == "kill" else actor.end)()
    if library == "prometheus_client":
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(actor.process.pid)


def play(library: str, program: list[list[Any]]) -> list[dict[str, float]]:
    """What each scrape of the program shows. This process itself only scrapes."""
    actors: dict[str, Actor] = {}
    pages = []
    if library == "mpmetrics":
        from mpmetrics import store

        store.current()  # held, or it would begin afresh when the last of the others has ended
    with ExitStack() as stack:
        for verb, *args in program:
            match verb:
                case "start":
                    actors[args[0]] = stack.enter_context(Actor("fork"))
                case "write":
                    actors[args[0]].do(write, library, *args[1:])
                case "kill" | "exit":
                    _end(library, actors[args[0]], verb)
                case "scrape":
                    numbers = {str(actor.process.pid): k for k, actor in actors.items()}
                    pages.append(_page(library, numbers))
    return pages
