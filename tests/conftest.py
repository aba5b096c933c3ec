"""What every test may use.  Nothing here imports mpmetrics when tests are collected."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import struct
import time
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import sanitized
from tests.programs import started

METHODS = ("fork", "forkserver", "spawn")
MADE_UP = Path(f"/dev/shm/mpmetrics-{os.geteuid()}")  # where stores without a name are made
ATTACHED = 1 << 61  # the byte that whoever uses a store has locked (native/core.h)
PATIENCE = 10.0  # seconds

# Before a test module is imported. How long an example takes, or to think of one, is the machine's.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sanitized.skip_what_cannot(items)


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> BaseContext:
    """Every concurrency test runs under every way Python can make a process."""
    return multiprocessing.get_context(request.param)


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """The same for a test whose processes are the children of a fresh interpreter."""
    return str(request.param)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Stores, descriptors and mappings are after the test what they were before."""
    gc.collect()  # the heaps of tests before this one, which only a cycle keeps
    before = _left_over(), _descriptors(), _mappings()
    yield
    deadline = time.monotonic() + PATIENCE
    while not _left_over() <= before[0] and time.monotonic() < deadline:
        time.sleep(0.05)  # grandchildren that nobody waits for are just ending
    assert set() == _left_over() - before[0]
    assert before[1:] == (_descriptors(), _mappings())


@pytest.fixture
def store(tmp_path: Path, nothing_left: None) -> Path:
    """The path of a store of the test's own, for MPMETRICS_STORE; nothing is there yet."""
    return tmp_path / "store"


def _left_over() -> set[str]:
    """Stores that our programs made up and nobody has; other tests may run on this machine."""
    names = os.listdir(MADE_UP) if MADE_UP.exists() else []
    ours = tuple(f"{name}-" for name in started)
    return {name for name in names if name.startswith(ours) and not is_attached(MADE_UP / name)}


def is_attached(path: Path) -> bool:
    """Has anybody this store? Who is just removing it counts, too."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # gone, and so not left over
    try:
        # Asked only: a lock held for a moment would turn newcomers away.
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, ATTACHED, 1, 0)
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, lock)
        return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK
    finally:
        os.close(fd)


def _descriptors() -> set[str]:
    """What this process has open, but for what pytest itself opens and closes."""
    links = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            links.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue  # the one that listdir used
    return {link for link in links if link.startswith(("/dev/shm", "/memfd:"))}


def _mappings() -> list[str]:
    """This process's mappings of stores."""
    with open("/proc/self/maps") as maps:
        return [line.split()[-1] for line in maps if "mpmetrics" in line and ".so" not in line]
