"""The libraries that are compared. All have prometheus_client's interface."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

# Whoever runs the benchmarks may have these set; a measurement sees only its own.
_FOREIGN = ("PROMETHEUS_", "prometheus_", "MPMETRICS_")


@dataclass(frozen=True)
class Contender:
    """One library in one mode: the module to import, and what its process finds around it."""

    title: str
    module: str
    variable: str | None = None  # where the library is told which folder or file to share

    def environment(self, store: Path) -> dict[str, str]:
        """The environment of a process that measures this contender with its files in `store`."""
        root = str(Path(__file__).resolve().parent.parent)
        env = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH")]))
        if self.variable is not None:
            env[self.variable] = str(store / "metrics" if self is OURS else store)
        return env

    def load(self) -> "Library":
        """Import the library; only the process that measures may call this."""
        return Library(importlib.import_module(self.module), self is not SINGLE, self is MULTI)


@dataclass(frozen=True)
class Library:
    """An imported contender."""

    module: ModuleType
    is_shared: bool  # a scrape shows what other processes counted
    is_peer_multiprocess: bool

    def registry(self) -> Any:
        """A registry without the collectors of the process, whose lines would differ."""
        return self.module.CollectorRegistry()

    def metric(self, kind: str, name: str, labels: tuple[str, ...], registry: Any) -> Any:
        """Declare a metric of class `kind`."""
        return getattr(self.module, kind)(
            name, "What the benchmark measures.", labels, registry=registry
        )

    def scrape(self, registry: Any) -> bytes:
        """The text of one scrape, made the way the library's documentation makes it."""
        if not self.is_peer_multiprocess:
            return bytes(self.module.generate_latest(registry))
        multiprocess = importlib.import_module("prometheus_client.multiprocess")
        fresh = self.registry()
        multiprocess.MultiProcessCollector(fresh)
        return bytes(self.module.generate_latest(fresh))


OURS = Contender("mpmetrics", "mpmetrics", "MPMETRICS_STORE")
SINGLE = Contender("prometheus_client", "prometheus_client")
MULTI = Contender(
    "prometheus_client multi-process", "prometheus_client", "PROMETHEUS_MULTIPROC_DIR"
)
ALL = (OURS, SINGLE, MULTI)
