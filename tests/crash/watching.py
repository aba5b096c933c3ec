"""What those who kill share: numbers outside the store, waits with a bound, pages as numbers."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable

LIMIT = 30.0  # seconds, for what could only last that long if it hangs
HANG = 10.0  # seconds, in which something must get on: that tells a hang from noise


def words(count: int, path: str | None = None) -> memoryview:
    """Numbers shared with who is to be killed, in memory that has nothing to do with the store.

    Not struct.pack_into, which a kill may leave half done."""
    if path is None:
        return memoryview(mmap.mmap(-1, count * 8)).cast("Q")
    with open(path, "a+b") as file:
        file.truncate(count * 8)
        return memoryview(mmap.mmap(file.fileno(), count * 8)).cast("Q")


def wait_until(true: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.0002)


def _state(pid: int) -> str:
    """One letter, as proc(5) says; X: it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def is_dead(pid: int) -> bool:
    return _state(pid) in "ZX"


def wait_stopped(pid: int) -> None:
    """Returns once a process that was sent SIGSTOP has stopped, or is dead."""
    wait_until(lambda: _state(pid) == "T" or is_dead(pid), f"{pid} does not stop")


def read(page: bytes) -> dict[str, float]:
    """The samples of a page, without exemplars and times of birth."""
    values = {}
    for line in page.decode().splitlines():
        name, _, value = line.partition(" # ")[0].rpartition(" ")
        if line and not line.startswith("#") and "_created" not in name:
            assert name not in values, f"{name} is shown twice"
            values[name] = float(value)
    return values
