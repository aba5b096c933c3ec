"""A child that counts for the first time when the parent that declared its metrics is dead."""

from __future__ import annotations

import contextlib
import os
import time

from mpmetrics import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    generate_latest,
    store,
)

from .basics import Actor, call, have
from .stopped import lock_of_the_newest


class Private:
    """One metric of each kind in a registry that no other process can name."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.plain = Counter("plain", "h", registry=registry)
        self.labelled = Counter("labelled", "h", ["a"], registry=registry)
        self.child = self.labelled.labels("kept")
        self.gauge = Gauge("gauge", "h", registry=registry)
        self.peak = Gauge("peak", "h", multiprocess_mode="max", registry=registry)
        self.seconds = Histogram("seconds", "h", buckets=[1], registry=registry)
        self.about = Info("about", "h", registry=registry)
        self.state = Enum("state", "h", states=["a", "b"], registry=registry)

    def count(self, version: str) -> None:
        self.plain.inc()
        self.child.inc()
        self.labelled.labels("looked up").inc()
        self.gauge.inc()
        self.peak.set(2)
        self.seconds.observe(0.5)
        self.about.info({"version": version})
        self.state.state("b")

    def page(self) -> list[str]:
        lines = generate_latest(self.registry).decode().splitlines()
        return [line for line in lines if not line.startswith("#") and "_created" not in line]


def _start_another(other: Actor) -> None:
    other.do(have, "Counter", "another", ["another", "h"])
    other.do(call, "another", [], "inc")  # sweeps what only the dead had declared


def counted(another_starts: str, is_locked: bool = False) -> list[str]:
    """
    What an orphan shows that counts once its parent, who had counted, is dead.

    Another process may start before that, or while the orphan waits for the lock; or the lock is a
    living process's until all has been counted.
    """
    Counter("anything", "For this process to have a store.").inc()
    path = store.current().path
    assert path is not None
    with Actor("fork") as holder, Actor("fork") as other:
        holder.do(have, "Counter", "holders", ["holders", "h"])
        tell, page = _orphan(path if is_locked else None)
        if another_starts == "before":
            _start_another(other)
        if another_starts == "meanwhile":
            with lock_of_the_newest(path, but=1):  # the holder's: the parent's is the newest
                os.write(tell, b" ")
                time.sleep(0.02)  # so that it waits, and not so long that it gives up
            _start_another(other)
        else:
            os.write(tell, b" ")
        with open(page, "rb") as said:
            return said.read().decode().splitlines()


def _orphan(locked: str | None) -> tuple[int, int]:
    """Where to tell it to count, and where its page comes from; its parent is dead."""
    page, answer = os.pipe()
    go, told = os.pipe()
    parent = os.fork()
    if parent == 0:
        private = Private()
        private.count("1")
        if os.fork() == 0:
            os.close(told)
            os.read(go, 1)
            with lock_of_the_newest(locked) if locked else contextlib.nullcontext():
                private.count("2")
            os.write(answer, "\n".join(private.page()).encode())
        os._exit(0)
    os.close(answer)
    os.waitpid(parent, 0)
    return told, page
