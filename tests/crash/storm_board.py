"""The storm's board: what each of its processes has done, in memory outside of the store.

A worker writes down what it is about to do, does it, and counts it as done. So whatever the moment
of its death, all that is counted as done was in the store, and at most one update, of a kind that
is known, may be in the store without being counted.
"""

from __future__ import annotations

import os

from .watching import words

WORKERS = 7
SCRAPERS = 2

# What a worker counts; the order is that of storm_work.updates.
KINDS = (
    "jobs", "ok", "failed", "traced", "paid", "visits", "size", "latency", "seconds", "wide",
    "level", "stock", "sum", "livesum", "max", "livemax", "min", "livemin", "mostrecent",
    "livemostrecent", "all", "liveall", "state", "about",
)  # fmt: skip
KIND = {name: number for number, name in enumerate(KINDS)}

# Of each kind that is only added to, by one each time: where a page shows the total.
TOTALS = {
    "jobs": "jobs_total",
    "ok": 'requests_total{code="200"}',
    "failed": 'requests_total{code="500"}',
    "traced": "traced_total",
    "size": "size_count",
    "latency": 'latency_count{path="/a"}',
    "seconds": "seconds_count",
    "wide": 'wide_count{path="/b"}',
    "level": "level",
    "stock": 'stock{shelf="a"}',
    "sum": "of_sum",
}

# The words of a worker's row. DONE and BASE have one word a kind.
DONE = 0
BASE = len(KINDS)  # what was done when the process that has the row now was started
DOING = 2 * len(KINDS)  # kind + 1, of the latest update
BEAT = DOING + 1  # grows while the process gets on
SLOWEST = DOING + 2  # ns, of making, counting in, reading and removing a label set
NAMES = DOING + 3  # label sets ever named
LEFT = (
    DOING + 4
)  # where the label set stands that is being made, see storm_work.Worker.churn; 0: none
RESETS = DOING + 5  # begun
RESET = DOING + 6  # done
ROW = DOING + 7

# The words of a scraper's row.
SCRAPES, BEGAN, LONGEST = range(3)  # BEGAN: of the scrape that runs, ns; 0: none

_STOP, _WRONG, _UNACKNOWLEDGED = 0, 1, 2
_HEAD = _UNACKNOWLEDGED + len(KINDS)
_SCRAPER = 3


class Board:
    """The numbers of all processes of a storm."""

    def __init__(self, folder: str) -> None:
        count = _HEAD + WORKERS * ROW + SCRAPERS * _SCRAPER
        self._words = words(count, os.path.join(folder, "board"))
        self._folder = folder
        self.unacknowledged = self._words[_UNACKNOWLEDGED:_HEAD]  # updates of the killed, by kind
        ends = [_HEAD + slot * ROW for slot in range(WORKERS + 1)]
        self.workers = [self._words[end : end + ROW] for end in ends[:-1]]
        self.scrapers = [self._words[ends[-1] + _SCRAPER * i :][:_SCRAPER] for i in range(SCRAPERS)]

    def stop(self) -> None:
        self._words[_STOP] = 1

    def is_over(self) -> bool:
        return self._words[_STOP] != 0 or self._words[_WRONG] != 0

    def tell(self, who: str, what: str) -> None:
        """Something is wrong: the storm ends."""
        with open(os.path.join(self._folder, "wrong"), "a") as file:
            file.write(f"{who}: {what}\n")
        self._words[_WRONG] = 1

    def wrong(self) -> list[str]:
        if self._words[_WRONG] == 0:
            return []
        with open(os.path.join(self._folder, "wrong")) as file:
            return file.read().splitlines()

    def done(self) -> list[int]:
        """What was acknowledged, by kind."""
        return [
            sum(column)
            for column in zip(*(row[:BASE].tolist() for row in self.workers), strict=True)
        ]

    def most(self) -> list[int]:
        """What can have been counted: also by those who were killed or are just counting."""
        return [
            done + lost + WORKERS
            for done, lost in zip(self.done(), self.unacknowledged.tolist(), strict=True)
        ]

    def resets(self, word: int) -> int:
        return sum(row[word] for row in self.workers)
