"""What the processes of test_tearing.py do: two observe without pause while one scrapes."""

from __future__ import annotations

import multiprocessing
import re
from typing import Any

from tests.sharing import share

from mpmetrics import Histogram, Summary, generate_latest

SECONDS = Histogram("seconds", "A histogram.", buckets=(0.5, 2.0))
SIZE = Summary("size", "A summary.")
WIDE = Histogram("wide", "With labels and many buckets.", ["code"], buckets=range(1, 60))
LIMIT = 30.0
NUMBER = re.compile(
    rb'^(seconds|size|wide)(_bucket\{(?:code="a",)?le="\+Inf"\}|_count|_sum)'
    rb'(?:\{code="a"\})? (.*)$',
    re.MULTILINE,
)


def observe(stop: Any, ready: Any) -> None:
    wide = WIDE.labels("a")
    share()
    ready.release()
    while not stop.value:
        for _ in range(1000):
            SECONDS.observe(1.0)
            SIZE.observe(1.0)
            wide.observe(1.0)


def numbers(text: bytes) -> dict[bytes, set[bytes]]:
    """What each metric says of how many observations there were: one number, or it contradicts."""
    found: dict[bytes, set[bytes]] = {}
    for name, _, value in NUMBER.findall(text):
        found.setdefault(name, set()).add(value)
    return found


def scrape(method: str, times: int, theirs: int) -> dict[str, Any]:
    """The pages that contradict themselves, and how much happened between the pages."""
    import prometheus_client

    context = multiprocessing.get_context(method)
    stop = context.Value("b", 0, lock=False)
    ready = context.Semaphore(0)
    writers = [context.Process(target=observe, args=(stop, ready)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for _ in writers:
        assert ready.acquire(timeout=LIMIT)
    torn, seen, backwards = [], set(), 0
    last: dict[bytes, float] = {}
    try:
        for i in range(times + theirs):
            text = (generate_latest if i < times else prometheus_client.generate_latest)()
            found = numbers(text)
            if set(found) != {b"seconds", b"size", b"wide"} or any(
                len(values) != 1 for values in found.values()
            ):
                torn.append(repr(found))
            now = {name: float(min(values)) for name, values in found.items()}
            backwards += any(now[name] < last.get(name, 0) for name in now)
            last = now
            seen.add(now.get(b"seconds"))
    finally:
        stop.value = 1
        for writer in writers:
            writer.join(LIMIT)
    assert [0, 0] == [writer.exitcode for writer in writers]
    return {"torn": torn[:5], "backwards": backwards, "different": len(seen)}
