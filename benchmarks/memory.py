"""What a label set takes: in the process that uses it, and in the files that are shared."""

import gc
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import child
from .contenders import ALL, SINGLE, Library
from .scrape import allocated
from .settings import Settings
from .table import Row

SECTION = "memory"
KINDS = {"Counter": "inc", "Histogram": "observe"}


def measure(library: Library, request: Mapping[str, Any], store: Path) -> dict[str, float]:
    """Bytes per label set, made and updated once; `traced` says by which measure."""
    registry = library.registry()
    metric = library.metric(request["kind"], "bench_memory", ("number",), registry)
    update = KINDS[request["kind"]]
    numbers = [str(i) for i in range(request["children"])]
    getattr(metric.labels("first"), update)(1)  # what only the first one costs
    if request["traced"]:
        tracemalloc.start()
    held = _traced if request["traced"] else _private
    process, files = held(), allocated(store)
    for number in numbers:
        getattr(metric.labels(number), update)(1)
    return {
        "process": (held() - process) / len(numbers),
        "files": (allocated(store) - files) / len(numbers),
    }


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _private() -> int:
    """Memory that only this process has: the pages of the store are not among it."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("no RssAnon in /proc/self/status")


def rows(settings: Settings) -> list[Row]:
    """One run each: memory doesn't depend on what else the machine does."""
    found = []
    for kind in KINDS:
        request = {"kind": kind, "children": settings.children}
        private = [child.run(c, SECTION, {**request, "traced": False}) for c in ALL]
        traced = [child.run(c, SECTION, {**request, "traced": True}) for c in ALL]
        found += [
            _row(f"{kind} child: private pages", [p["process"] for p in private]),
            _row(f"{kind} child: by tracemalloc", [t["process"] for t in traced]),
            _row(
                f"{kind} series: files",
                [
                    p["files"] or None if c is not SINGLE else None
                    for c, p in zip(ALL, private, strict=True)
                ],
            ),
        ]
    return found


def _row(name: str, values: list[float | None]) -> Row:
    return Row(SECTION, name, "bytes", tuple(values))
