"""The types of the public interface, as a type checker of the user's sees them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed"),
]

RIGHT = """
from collections.abc import AsyncIterator, Iterator

import prometheus_client
from typing_extensions import assert_type

import mpmetrics
from mpmetrics import Counter, Enum, Gauge, Histogram, Info, Summary

registry = mpmetrics.CollectorRegistry(name="admin")
c = Counter("c", "help", ["a", "b"], "ns", "sub", "unit", registry)
c2 = Counter("c", "help", {"a": 1}.keys(), registry=None)
c3 = Counter("c", "help", (name for name in "ab"), registry=prometheus_client.CollectorRegistry())
assert_type(c.labels("x", 1), Counter)
assert_type(c.labels(a="x", b=None), Counter)
assert_type(c.inc(), None)
c.inc(1), c.inc(0.5), c.inc(amount=2), c.inc(1, {"trace": "x"}), c.inc(exemplar={"trace": "x"})
c.remove("x", 1)
c.remove_by_labels({"a": "x"})
c.clear()

g = Gauge("g", "help", multiprocess_mode="livesum")
g.inc(), g.dec(2), g.set(3.5), g.set(value=3), g.set_to_current_time()
assert_type(g.labels("x"), Gauge)

s = Summary("s", "help")
s.observe(1), s.observe(amount=1.5)

h = Histogram("h", "help", buckets=(1, 2.5, float("inf")))
h2 = Histogram("h", "help", buckets=["1", "2"])
h.observe(1, exemplar={"trace": "x"})
assert_type(Histogram.DEFAULT_BUCKETS[0], float)

i = Info("i", "help")
i.info({"version": "1"})
e = Enum("e", "help", states=["a", "b"])
e.state("a")


@s.time()
def plain(x: int) -> str:
    return str(x)


@h.labels("x").time()
async def coroutine(x: int) -> str:
    return str(x)


@g.track_inprogress()
def generator() -> Iterator[int]:
    yield 1


@c.count_exceptions(ValueError)
async def async_generator() -> AsyncIterator[int]:
    yield 1


assert_type(plain(1), str)
assert_type(generator(), Iterator[int])


async def main() -> None:
    assert_type(await coroutine(1), str)
    async for item in async_generator():
        assert_type(item, int)


with s.time() as timer:
    timer.labels("x")
assert_type(timer.duration, float | None)
with g.track_inprogress(), c.count_exceptions((KeyError, ValueError)):
    pass

assert_type(mpmetrics.generate_latest(registry), bytes)
assert_type(mpmetrics.generate_latest(), bytes)
mpmetrics.StoreCollector(registry=registry)
registry.register(c)
mpmetrics.disable_created_metrics()
mpmetrics.make_wsgi_app(registry)
mpmetrics.make_asgi_app(registry)
server, thread = mpmetrics.start_http_server(0, addr="127.0.0.1", registry=registry)
server.shutdown()
thread.join()


class Mine(Counter):
    def twice(self) -> None:
        self.inc(2)


assert_type(Mine("m", "help").labels("x"), Mine)
"""

# Each line is wrong by itself.
WRONG = """\
Counter("c")
Counter("c", "help", registry="x")
Counter("c", "help", more=1)
Counter("c", "help").inc("1")
Counter("c", "help").dec()
Counter("c", "help").inc(1, "x")
Gauge("g", "help").set()
Gauge("g", "help").set(None)
Gauge("g", "help").observe(1)
Summary("s", "help").observe()
Histogram("h", "help", buckets=3)
Info("i", "help").info("x")
Enum("e", "help", states=["a"]).state(1)
Enum("e", "help", states=3)
Summary("s", "help").time(1)
CollectorRegistry(name=3)
generate_latest(3)
Summary("s", "help").time()(3)
"""


def mypy(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    cache = Path(__file__).parents[1] / ".mypy_cache"
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        f"--cache-dir={cache}",
        *options,
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=path.parent)


def test_right_use_is_accepted(tmp_path):
    """mypy --strict has nothing to say about a program that uses everything as it is meant."""
    path = tmp_path / "right.py"
    path.write_text(RIGHT)

    checked = mypy(path, "--disable-error-code=func-returns-value")

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_wrong_use_is_rejected(tmp_path):
    """mypy finds each wrong call."""
    path = tmp_path / "wrong.py"
    path.write_text(
        "from mpmetrics import (Counter, Enum, Gauge, Histogram, Info, Summary,"
        f" CollectorRegistry, generate_latest)\n{WRONG}"
    )

    checked = mypy(path)

    found = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error:" in line}
    missed = set(range(2, 2 + len(WRONG.splitlines()))) - found
    assert not missed, [WRONG.splitlines()[line - 2] for line in missed]


def test_stub_is_what_the_extension_has():
    """stubtest finds no difference between _native.pyi and the extension."""
    root = Path(__file__).parents[1]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "mpmetrics._native",
         "--mypy-config-file", str(root / "pyproject.toml")],
        capture_output=True, text=True, cwd=root,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_package_says_that_it_is_typed():
    """py.typed is installed, or mypy would not look at our types."""
    from importlib.resources import files

    assert files("mpmetrics").joinpath("py.typed").is_file()
