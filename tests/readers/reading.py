"""Readers that are called: each counts with the crew, then hands a registry to prometheus_client.

Run by `tests.programs.run`, in a program of its own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from urllib.request import urlopen

import prometheus_client
from examples.rig.processes import wait_for
from prometheus_client.bridge.graphite import GraphiteBridge
from tests.readers import crew

import mpmetrics


def _patched(yes: bool) -> AbstractContextManager[object]:
    """prometheus_client's functions as they are, or with our renderer in them."""
    return mpmetrics.patch() if yes else nullcontext()


def push_all(method: str, gateway: str, patched: bool) -> None:
    """Each registry plain and compressed, each as a job of its own."""
    crew.count(method)
    with _patched(patched):
        for which, registry in crew.REGISTRIES.items():
            prometheus_client.push_to_gateway(gateway, f"{which} plain", registry)
            prometheus_client.push_to_gateway(
                gateway, f"{which} gzip", registry, compression="gzip"
            )


def push_add_delete(method: str, gateway: str) -> list[str]:
    """The gateway's page after each of: push, add another registry, push that alone, delete."""
    crew.count(method)
    other = mpmetrics.CollectorRegistry(name="other")
    mpmetrics.Counter("crew_other", "In none of the crew's registries.", registry=other).inc(7)
    key = {"shift": "night"}
    pages = []

    def page() -> str:
        with urlopen(f"{gateway}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def look() -> None:
        pages.append(page())

    prometheus_client.push_to_gateway(gateway, "job", crew.REGISTRIES["named"], key)
    look()
    prometheus_client.pushadd_to_gateway(gateway, "job", other, key)
    look()
    prometheus_client.push_to_gateway(gateway, "job", other, key)
    look()
    prometheus_client.delete_from_gateway(gateway, "job", key)
    # The gateway only queues that before it answers.
    wait_for(lambda: 'shift="night"' in page(), False, 20)
    look()
    return pages


def write(method: str, folders: dict[str, str], patched: bool) -> None:
    """Each registry into a folder of its own."""
    crew.count(method)
    with _patched(patched):
        for which, folder in folders.items():
            path = str(Path(folder, "crew.prom"))
            prometheus_client.write_to_textfile(path, crew.REGISTRIES[which])


def send(method: str, port: int) -> None:
    """Each registry by the graphite bridge, with paths and with tags, one after the other."""
    crew.count(method)
    for registry in crew.REGISTRIES.values():
        for tags in (False, True):
            GraphiteBridge(("127.0.0.1", port), registry, tags=tags).push(prefix="shop")
