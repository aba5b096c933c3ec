"""The proof that a library is exact: what its pages must say, and the course of one trial."""

from __future__ import annotations

import importlib.metadata
import os
import re
import time
import urllib.request
from pathlib import Path

import pytest
from examples.rig import page as pages
from examples.rig.processes import wait_until
from tests.answering import Watched
from tests.frameworks.libraries import Library
from tests.frameworks.table import TABLE
from tests.servers.driver import AT_ONCE, PATIENCE, Model, Served, free_port, serving

APPS = Path(__file__).parent / "apps"
FIRST, LATER = 40, 20
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

# What each application adds (apps/own.py).
OWN = {
    'shop_build_info{version="1.2"}': 1.0,
    'shop_state{shop_state="ready"}': 1.0,
    'shop_state{shop_state="starting"}': 0.0,
}


def need(package: str) -> None:
    """Skips the test where the library isn't installed."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} isn't installed: pip install '.[frameworks]'")


def free_ports() -> tuple[int, int]:
    """For `run --listen`, and for the server; the second is put in where a command says 8000."""
    while True:
        listen, port = free_port(), free_port()
        if "8000" not in str(listen) and listen != port:
            return listen, port


def truth(library: Library, requests: int) -> dict[str, float]:
    """What a page must say after so many requests."""
    counted = dict.fromkeys((*library.counted, "shop_jobs_total"), float(requests))
    return {**OWN, **dict.fromkeys(library.idle, 0.0), **counted}


def assert_true(library: Library, requests: int, who: object, text: str) -> None:
    """This page says what is true."""
    values = pages.read(text)
    must = truth(library, requests)
    assert must == {name: values.get(name) for name in must}, f"{who}:\n{text}"


def fetch(port: int, path: str, accept: str = "*/*") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return str(response.read().decode())


def assert_traced(sample: str, requests: int, text: str) -> None:
    """That sample has its exemplar in this OpenMetrics page, which is whole."""
    line = re.escape(sample) + rf' {requests}\.0 # \{{trace_id="abc"\}} 1\.0 [0-9.]+$'
    assert re.search(line, text, re.MULTILINE), text
    assert text.endswith("# EOF\n")


def assert_all_pages(
    library: Library, served: Served, listen: int, requests: int, without: frozenset[int]
) -> None:
    """Every worker's page, that of `run --listen`, and the OpenMetrics pages say what is true."""
    must = truth(library, requests).items()

    def all_true() -> bool:
        texts = served.pages(without=without).values()
        return all(must <= pages.read(text).items() for text in texts)

    # Some count a request, and that it is in progress no more, after its response has been sent.
    wait_until(all_true, PATIENCE)
    for pid, text in served.pages(without=without).items():
        assert_true(library, requests, pid, text)
    assert_true(library, requests, "run --listen", fetch(listen, "/metrics"))
    assert_traced("shop_jobs_total", requests, fetch(listen, "/metrics", OPENMETRICS))
    if library.openmetrics is not None:
        page = fetch(served.port, library.openmetrics, OPENMETRICS)
        assert_traced(library.traced, requests, page)


class Shop(Watched):
    """A server whose application knows nothing of the test."""

    work_path = "/work"


def work_by_two(served: Served, requests: int) -> set[int]:
    """So many requests, and more until two workers have answered one; who answered."""
    by = served.work(requests)
    deadline = time.monotonic() + PATIENCE
    while len(by) < 2:
        assert time.monotonic() < deadline, f"one worker answers all:\n{served.child.last_words()}"
        by |= served.work(AT_ONCE)
    return by


def prove(name: str, library: Library, folder: Path) -> None:
    """The whole proof of one library, which is noted for the table."""
    need(library.package)
    files = folder / "files"
    files.mkdir()  # as the documentation has it: there and empty
    listen = free_ports()[0]
    model = Model(
        f"mpmetrics run --listen 127.0.0.1:{listen} -- {library.command}",
        files={
            file: (APPS / file).read_text() for file in (library.app, "own.py", *library.beside)
        },
        variables={"PROMETHEUS_MULTIPROC_DIR": str(files)} if library.multiprocess else {},
    )
    with serving(model, folder, Shop) as served:
        by = work_by_two(served, FIRST)
        first = served.answered
        assert_all_pages(library, served, listen, first, frozenset())
        victim = served.kill_one(by)
        served.settle()
        again = work_by_two(served, LATER)
        assert victim not in again
        assert not again <= by, "no new worker"
        assert_all_pages(library, served, listen, served.answered, frozenset({victim}))
    assert [] == os.listdir(files)
    TABLE.proved[name] = f"{first} of {first}, then {served.answered} of {served.answered}"
