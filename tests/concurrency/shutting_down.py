"""A program that counts until the very end: atexit, module teardown, threads that nobody joins.

What it counted is acknowledged in a file of its own; its store is a named one, looked at later.
"""

from __future__ import annotations

import atexit
import mmap
import sys
import threading

from tests.kinds import Kinds

kinds = Kinds()
DAEMONS = 3


class Dying:
    """Counts when the interpreter lets go of it, with what it still has."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.touch = kinds.touch
        self.me: object = None

    def __del__(self) -> None:
        self.touch(self.label, 1)


def acknowledged(path: str) -> memoryview:
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 8 * DAEMONS)).cast("Q")


def count_for_ever(i: int, done: memoryview) -> None:
    n = 0
    while True:
        n += 1
        kinds.touch(f"daemon-{i}", 1)
        if n % 20 == 0:
            for each in kinds.all:
                each.remove(f"daemon-{i}-gone")
            kinds.touch(f"daemon-{i}-gone", 1)
        done[i] = n


def start_daemons(path: str) -> None:
    """Once they have begun; the interpreter ends wherever they happen to be."""
    done = acknowledged(path)
    for i in range(DAEMONS):
        threading.Thread(target=count_for_ever, args=(i, done), daemon=True).start()
    while not all(done[i] > 50 for i in range(DAEMONS)):
        kinds.touch("main", 1)


if __name__ == "__main__":
    atexit.register(kinds.touch, "atexit", 1)
    if sys.argv[1] == "daemons":
        start_daemons(sys.argv[2])
    else:  # threads keep the module's names alive to the very end
        of_the_module = Dying("module")
        cycle = Dying("cycle")
        cycle.me = cycle
