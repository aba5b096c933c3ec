"""Many workers one after the other: nothing grows. MPM_SOAK_WORKERS is their number."""

from __future__ import annotations

import os

import pytest
from tests.programs import run
from tests.proved import record

WORKERS = int(os.environ.get("MPM_SOAK_WORKERS", "500"))
FEW = 100
SECONDS = 60 + WORKERS / 10  # ten times what it takes
MEBIBYTE = 1 << 20
OBJECTS = 500  # Python's own caches may keep more of


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
def test_one_after_the_other(tmp_path, nothing_left):
    """After 10,000 workers, of which half were killed, all is as it was after the first hundred.

    The store, its blocks, shards and series, the page, and the memory of the process that scrapes.
    After each worker the totals are what was acknowledged, but for one update of each that was
    killed while it counted, and a gauge of the living shows nothing.
    """
    arguments = (str(tmp_path), WORKERS, FEW)
    outcome = run("tests.crash.soak:soak", *arguments, limit=SECONDS)
    print(outcome)
    first, last = outcome["figures"]
    before, after = outcome["costs"]

    assert [] == outcome["wrong"]
    assert first == last
    assert outcome["check"] is None
    assert (1, 1, 0) == (last["processes"], last["free_shards"], last["private"])
    assert after["resident"] <= before["resident"] + MEBIBYTE
    assert after["objects"] <= before["objects"] + OBJECTS
    record(
        "soak",
        row=f"workers one after the other, half of them killed: as after the first {FEW}",
        seen=f"{WORKERS:,} workers; {last['used_bytes']:,} bytes in {last['blocks']} blocks, "
        f"{last['processes'] + last['free_shards']} shards, {last['series']} series before and "
        f"after; a scrape costs {before['scrape'] * 1e6:.0f} and {after['scrape'] * 1e6:.0f} µs of "
        f"a core; memory of the scraping process "
        f"{(after['resident'] - before['resident']) / 1024:+.0f} KiB",
        command="make crash",
    )
