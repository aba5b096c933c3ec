"""
Histogram: [hint][sum 0][sum 1][bucket …].  The truth is n, the buckets added up.

    observe v: n = hint; store sum[(n+1)&1] = sum[n&1] + v; store the one bucket + 1: the commit;
               store hint = n + 1
    takeover:  add the buckets up and store the hint anew: after a kill it is n or n-1
    scrape:    load the buckets, sum[n&1], the buckets again; retry if one moved

The writer's hint only saves it from adding the buckets up.
"""

from __future__ import annotations

import pytest

from .explorer import (
    Program,
    Steps,
    explore,
    judge,
    load_acquire,
    snapshot,
    store_relaxed,
    store_release,
    wait_dead,
)

pytestmark = pytest.mark.slow

WORDS = {"hint": 0, "sum0": 0, "sum1": 0, "bucket0": 0, "bucket1": 0}


def observe_one(bucket: str, mistake: str | None) -> Steps:
    store = store_relaxed if mistake == "scratch sum relaxed" else store_release
    n = yield load_acquire("hint")
    total = yield load_acquire(f"sum{n & 1}")
    count = yield load_acquire(bucket)
    if mistake == "bucket before the sum":
        yield store_release(bucket, count + 1)
    yield store(f"sum{(n + 1) & 1}", total + 1)
    if mistake != "bucket before the sum":
        yield store_release(bucket, count + 1)
    yield store_release("hint", n + 1)


def take_up(mistake: str | None) -> Steps:
    if mistake == "successor trusts the hint":
        return
    bucket0 = yield load_acquire("bucket0")
    bucket1 = yield load_acquire("bucket1")
    hint = yield load_acquire("hint")
    n = bucket0 + bucket1
    assert n - 1 <= hint <= n, f"hint {hint}, n {n}"
    yield store_release("hint", n)


def read(mistake: str | None) -> Steps:
    while True:
        bucket0 = yield load_acquire("bucket0")
        bucket1 = yield load_acquire("bucket1")
        total = yield load_acquire(f"sum{(bucket0 + bucket1) & 1}")
        if mistake == "buckets read once":
            return bucket0 + bucket1, total
        again0 = yield load_acquire("bucket0")
        again1 = yield load_acquire("bucket1")
        if (again0, again1) == (bucket0, bucket1):
            return bucket0 + bucket1, total


@pytest.mark.parametrize(
    "mistake",
    [
        None,
        "successor trusts the hint",
        "bucket before the sum",
        "buckets read once",
        "scratch sum relaxed",
    ],
)
def test_histogram(mistake: str | None) -> None:
    """Buckets, count and sum are of one instant, whoever is killed and takes over where."""

    def first() -> Steps:
        for bucket in ("bucket0", "bucket1"):
            yield from observe_one(bucket, mistake)

    def successor(*owners: str) -> Program:
        def run() -> Steps:
            for owner in owners:
                yield wait_dead(owner)
            yield from take_up(mistake)
            yield from observe_one("bucket0", mistake)

        return run

    def reader() -> Steps:
        before = yield snapshot("bucket0", "bucket1")
        n, total = yield from read(mistake)
        assert n == total, f"torn: n {n}, sum {total}"
        after = yield snapshot("bucket0", "bucket1")
        assert sum(before) <= n <= sum(after), f"{n} read between {before} and {after}"

    def final(words: dict[str, int]) -> None:
        n = words["bucket0"] + words["bucket1"]
        assert words[f"sum{n & 1}"] == n, f"n {n}, sum {words[f'sum{n & 1}']}"

    processes = {
        "first": first,
        "second": successor("first"),
        "third": successor("first", "second"),
        "reader": reader,
    }
    writers = ("first", "second", "third")
    judge(explore(WORDS, processes, kills=3, killable=writers, final=final), mistake)
