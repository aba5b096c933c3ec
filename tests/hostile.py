"""What test_hostile.py's program does: damages a copy of a store, and lets child processes use it.

Each use is a process of its own, forked from an interpreter that has imported everything and has no
store: some milliseconds each. What it ended with is what the test looks at.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmetrics
from mpmetrics import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    StoreCollector,
    StoreError,
    Summary,
    _native,
    generate_latest,
)
from mpmetrics.__main__ import main
from mpmetrics.exposition import render
from mpmetrics.negotiation import Encoding, Format
from mpmetrics.reader import StoreReader

PATIENCE = 30  # seconds of one use
EXPECTED = 0
SURPRISED = 3  # an exception that nobody was told of; its traceback is on stderr


# ---- a store, and its uses -----------------------------------------------------------------------


def declare() -> dict[str, Any]:
    """One metric of each kind, by its name."""
    registry = CollectorRegistry(name="hostile")
    return {
        "jobs": Counter("jobs", "Jobs done.", ["queue", "status"], registry=registry),
        "level": Gauge("level", "A level.", registry=registry),
        "parts": Gauge("parts", "One each.", registry=registry, multiprocess_mode="all"),
        "least": Gauge("least", "Least.", ["n"], registry=registry, multiprocess_mode="livemin"),
        "size": Summary("size", "Sizes.", registry=registry),
        "seconds": Histogram("seconds", "Times.", ["n"], buckets=(0.5, 2), registry=registry),
        "build": Info("build", "What is run.", registry=registry),
        "state": Enum("state", "What it does.", states=["on", "off"], registry=registry),
        "registry": registry,
    }


def update(metrics: dict[str, Any]) -> None:
    """Each metric once, some label sets; an exception here would be the application's end."""
    for n in range(3):
        metrics["jobs"].labels(f"queue-{n}", "good").inc(exemplar={"trace": str(n)})
        metrics["least"].labels(n).set(n)
        metrics["seconds"].labels(n).observe(n)
    metrics["level"].set(3)
    metrics["parts"].inc(2)
    metrics["size"].observe(2)
    metrics["build"].info({"version": '1.0"'})
    metrics["state"].state("off")


def make(path: str) -> None:
    mpmetrics.Store(path, persist=True)
    metrics = declare()
    update(metrics)
    metrics["jobs"].remove("queue-1", "good")


def join(path: str) -> None:
    """As an application would: only finding the store, and scraping it, may raise."""
    with contextlib.suppress(StoreError, OSError):
        mpmetrics.Store(path, persist=True)
    metrics = declare()
    collector = StoreCollector(metrics["registry"])
    for _ in range(2):
        update(metrics)
        metrics["jobs"].remove("queue-2", "good")
        with contextlib.suppress(OSError):
            generate_latest(metrics["registry"])
    metrics["jobs"].clear()
    metrics["registry"].unregister(collector)


def serve(path: str) -> None:
    """What `mpmetrics serve` does at each scrape."""
    reader = StoreReader(path)
    for format_ in Format:
        with contextlib.suppress(OSError):
            render(reader, Encoding(format_))
    with contextlib.suppress(OSError):
        for metric in reader.restricted_registry(["jobs_total", "seconds_bucket"]).collect():
            list(metric.samples)


def dump(path: str) -> None:
    main(["dump", "--format", "openmetrics", path])


def check(path: str) -> None:
    main(["check", path])


def map_as_heap(path: str) -> None:
    """As a heap, which it is, too; not one that was handed over by a pickle."""
    with open(path, "r+b") as file, contextlib.suppress(OSError, MemoryError):
        heap = _native.Heap(file.fileno(), path)
        heap._numbers()
        heap._take(100, 64)


USES: tuple[Callable[[str], None], ...] = (serve, dump, check, map_as_heap, join)


# ---- processes -----------------------------------------------------------------------------------


def in_a_child(use: Callable[[str], None], path: str) -> tuple[int, str]:
    """Its exit status, or minus the signal that ended it; and what it complained of."""
    complaints = Path(path + ".stderr")
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE)
        os.dup2(os.open(complaints, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        try:
            with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
                use(path)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(SURPRISED)
        os._exit(EXPECTED)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, complaints.read_text(errors="replace")


def damaged(whole: bytes, edits: list[list[Any]]) -> bytes:
    """The bytes with each edit made: [what, where, how]."""
    data = bytearray(whole)
    places = [at for at in range(0, len(whole), 8) if any(whole[at : at + 8])]
    for what, where, how in edits:
        at = places[where % len(places)]
        if what == "truncate":
            del data[where % len(whole) :]
        elif at + 8 <= len(data):
            old = struct.unpack_from("=Q", data, at)[0]
            other = places[how % len(places)]
            new = {
                "word": how,
                "flip": old ^ 1 << how % 64,
                "add": old + how,
                "name": other,
                "copy": int.from_bytes(whole[other : other + 8], sys.byteorder),
            }[what]
            struct.pack_into("=Q", data, at, new % (1 << 64))
    return bytes(data)


def meet(folder: str) -> None:
    """For each line of input, a list of edits: what every use of the damaged store ended with."""
    original, copy = f"{folder}/original", f"{folder}/copy"
    status, said = in_a_child(make, original)
    assert status == EXPECTED, said
    whole = Path(original).read_bytes()
    print(len(whole), flush=True)
    for line in sys.stdin:
        bad = []
        for use in USES:
            Path(copy).unlink(missing_ok=True)
            Path(copy).touch(0o600)
            Path(copy).write_bytes(damaged(whole, json.loads(line)))
            status, said = in_a_child(use, copy)
            if status != EXPECTED:
                bad.append([use.__name__, status, said[-3000:]])
        print(json.dumps(bad), flush=True)
