"""The storm: workers are killed and stopped at random moments while others scrape without pause.

The plan (who, what, after how long) comes from a seed, which the outcome names; where in its work
a worker is when the signal comes is the machine's choice.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from mpmetrics import StoreError, generate_latest, store
from mpmetrics.exposition import generate_openmetrics

from .storm_board import (
    BASE,
    BEAT,
    BEGAN,
    DOING,
    DONE,
    LEFT,
    LONGEST,
    SCRAPERS,
    SCRAPES,
    SLOWEST,
    WORKERS,
    Board,
)
from .storm_census import Census
from .storm_truth import Watcher
from .storm_work import COMMON, JOBS, OWN, OWN_METRICS, work
from .watching import HANG, LIMIT, read, wait_stopped

METHODS = ("fork", "fork", "fork", "forkserver", "forkserver", "spawn", "spawn")  # by slot
WEIGHTS = (8, 8, 8, 5, 5, 1, 1)  # a spawned worker needs some tenths of a second to begin
SCRAPER_METHODS = ("fork", "spawn")
PAUSES = "300"  # as in storm_work; a scrape passes some hundred points
PACE = 0.012  # seconds between two blows, on average
GRACE = 30.0  # for a process to begin on a busy machine
EVERY = 25  # blows between two looks at rest


def scrape(folder: str, number: int) -> None:
    """A scraper's process."""
    board = Board(folder)
    row, watcher = board.scrapers[number], Watcher(board)
    os.environ["MPM_CRASH_PAUSE"] = PAUSES

    def timed(generate: Callable[[], bytes]) -> bytes:
        row[BEGAN] = time.monotonic_ns()
        page = generate()
        row[LONGEST] = max(row[LONGEST], time.monotonic_ns() - row[BEGAN])
        row[SCRAPES] += 1
        row[BEGAN] = 0
        return page

    try:
        while not board.is_over():
            for generate in (generate_latest, generate_openmetrics):
                for wrong in watcher.watch(partial(timed, generate)):
                    board.tell(f"scraper {number}", wrong)
    except Exception as error:
        board.tell(f"scraper {number}", f"{type(error).__name__}: {error}")
        raise


class Storm:
    """One storm, from its first worker to what is left of it."""

    def __init__(self, folder: str, seed: int) -> None:
        self.folder, self.dice = folder, random.Random(seed)
        self.board = Board(folder)
        self.watcher = Watcher(self.board)
        self.workers: list[BaseProcess | None] = [None] * WORKERS
        self.scrapers: list[BaseProcess | None] = [None] * SCRAPERS
        self.beats = [(0, time.monotonic() + GRACE)] * WORKERS  # and when it will be a hang
        self.kills = self.stops = self.looks = 0
        self.longest_at_rest = 0

    # ---- processes -------------------------------------------------------------------------------

    def start_worker(self, slot: int) -> None:
        row = self.board.workers[slot]
        row[BASE:DOING] = row[DONE:BASE]
        args = (self.folder, slot, self.dice.getrandbits(32))
        context: Any = multiprocessing.get_context(METHODS[slot])
        worker = context.Process(target=work, args=args)
        worker.start()
        self.workers[slot] = worker
        self.beats[slot] = (row[BEAT], time.monotonic() + GRACE)

    def start_scraper(self, number: int) -> None:
        self.board.scrapers[number][BEGAN] = 0
        context: Any = multiprocessing.get_context(SCRAPER_METHODS[number])
        scraper = context.Process(target=scrape, args=(self.folder, number))
        scraper.start()
        self.scrapers[number] = scraper

    def send(self, slot: int, what: signal.Signals) -> None:
        worker = self.workers[slot]
        assert worker is not None
        assert worker.pid is not None
        with suppress(ProcessLookupError):  # ended by itself: found when it is reaped
            os.kill(worker.pid, what)

    def kill(self, slot: int) -> None:
        self.send(slot, signal.SIGKILL)
        self.reap(slot, -signal.SIGKILL)
        self.kills += 1

    def reap(self, slot: int, expected: int) -> None:
        worker, row = self.workers[slot], self.board.workers[slot]
        assert worker is not None
        worker.join(LIMIT)
        if worker.exitcode != expected:
            self.board.tell("storm", f"worker {slot} ended with {worker.exitcode}")
        worker.close()
        self.workers[slot] = None
        if expected != 0 and row[DOING] != 0:
            self.board.unacknowledged[row[DOING] - 1] += 1
        row[DOING] = 0

    def go_on(self, slot: int) -> None:
        self.send(slot, signal.SIGCONT)
        self.beats[slot] = (self.beats[slot][0], time.monotonic() + GRACE)

    def living(self) -> dict[int, int]:
        return {s: w.pid for s, w in enumerate(self.workers) if w is not None and w.pid is not None}

    # ---- blows -----------------------------------------------------------------------------------

    def blow(self) -> None:
        """One of the plan's: mostly a kill."""
        time.sleep(self.dice.expovariate(1 / PACE))
        slot = self.dice.choices(range(WORKERS), WEIGHTS)[0]
        what = self.dice.random()
        if what < 0.8:
            self.kill(slot)
            self.start_worker(slot)
        elif what < 0.97:
            self.send(slot, signal.SIGSTOP)
            self.stops += 1
            time.sleep(self.dice.uniform(0, 0.08))
            if self.dice.random() < 0.5:
                self.kill(slot)
                self.start_worker(slot)
            else:
                self.go_on(slot)
        elif what < 0.98:
            for each in range(WORKERS):
                self.kill(each)
            for each in range(WORKERS):
                self.start_worker(each)
        else:
            self.replace_scraper(self.dice.randrange(SCRAPERS))

    def replace_scraper(self, number: int) -> None:
        scraper = self.scrapers[number]
        assert scraper is not None
        scraper.kill()
        scraper.join(LIMIT)
        if scraper.exitcode != -signal.SIGKILL:
            self.board.tell("storm", f"scraper {number} ended with {scraper.exitcode}")
        scraper.close()
        self.start_scraper(number)

    def look_for_hangs(self) -> None:
        now = time.monotonic()
        for slot in self.living():
            beat, end = self.beats[slot]
            if self.board.workers[slot][BEAT] != beat:
                self.beats[slot] = (self.board.workers[slot][BEAT], now + HANG)
            elif now > end:
                self.board.tell("storm", f"worker {slot} hangs")
        for number, row in enumerate(self.board.scrapers):
            scraping = row[BEGAN]
            if scraping != 0 and time.monotonic_ns() - scraping > HANG * 1e9:
                self.board.tell("storm", f"scraper {number} hangs")

    def look_at_rest(self) -> None:
        """Every worker is stopped wherever it is, in the lock or out of it; the page is exact."""
        living = self.living()
        for slot in living:
            self.send(slot, signal.SIGSTOP)
        for pid in living.values():
            wait_stopped(pid)
        began = time.monotonic_ns()
        wrong = self.judge(Census(self.board, living))
        self.longest_at_rest = max(self.longest_at_rest, time.monotonic_ns() - began)
        for slot in living:
            self.go_on(slot)
        with suppress(StoreError):  # the lock isn't to be had: another time
            broken = store.current().check()
            wrong += [] if broken is None else [f"the store is damaged: {broken}"]
        for each in wrong:
            self.board.tell("storm", each)
        self.looks += 1

    def judge(self, census: Census) -> list[str]:
        wrong, page = self.watcher.watch(generate_latest), generate_latest()
        return wrong or census.judge(read(page))

    # ---- the end ---------------------------------------------------------------------------------

    def give_up(self) -> dict[str, Any]:
        """Something is wrong: nobody can be relied on to end by themselves."""
        for process in [*self.workers, *self.scrapers]:
            if process is not None:
                process.kill()
                process.join(LIMIT)
        return {"wrong": self.board.wrong()}

    def end(self) -> dict[str, Any]:
        """Everybody ends as processes do; what they leave is exact and whole, and no more."""
        self.board.stop()
        for slot in self.living():
            self.reap(slot, 0)
        for scraper in self.scrapers:
            assert scraper is not None
            scraper.join(LIMIT)
        census, joined = Census(self.board, {}), store.current()
        wrong = self.board.wrong() or self.judge(census)
        if wrong:
            return {"wrong": wrong}
        values = read(generate_latest())
        for left in [row[LEFT] for row in self.board.workers if row[LEFT]]:
            OWN_METRICS[left % len(OWN)].clear()
        for metric in COMMON:
            metric.clear()
        newcomer = multiprocessing.get_context("fork").Process(target=JOBS.inc)
        newcomer.start()  # takes over a shard, and sweeps up families that only the dead had
        newcomer.join(LIMIT)
        numbers = joined.statistics()
        return {
            "wrong": [],
            "check": joined.check(),
            "unacknowledged": census.unacknowledged(values),
            "live": sorted(name for name in values if name.startswith("of_live")),
            "series": numbers["series"],
            "shards": numbers["processes"] + numbers["free_shards"],
            "private": numbers["private"],
            "repairs": numbers["repairs"],
            "unsettled": numbers["unsettled"],
        }

    def begin(self) -> None:
        for slot in range(WORKERS):
            self.start_worker(slot)
        for number in range(SCRAPERS):
            self.start_scraper(number)
        while not all(row[BEAT] for row in self.board.workers) and not self.board.is_over():
            self.look_for_hangs()
            time.sleep(0.001)

    def run(self, kills: int) -> dict[str, Any]:
        began = time.monotonic()
        self.begin()
        for blows in itertools.count(1):
            if self.kills >= kills or self.board.is_over():
                break
            self.blow()
            self.look_for_hangs()
            if blows % EVERY == 0:
                self.look_at_rest()
        left = self.give_up() if self.board.is_over() else self.end()
        return left | {
            "seconds": time.monotonic() - began,
            "kills": self.kills,
            "stops": self.stops,
            "looks at rest": self.looks,
            "updates": sum(row[BEAT] for row in self.board.workers),
            "scrapes": sum(row[SCRAPES] for row in self.board.scrapers),
            "longest scrape": max(row[LONGEST] for row in self.board.scrapers) / 1e9,
            "longest scrape at rest": self.longest_at_rest / 1e9,
            "longest label set": max(row[SLOWEST] for row in self.board.workers) / 1e9,
        }


def storm(folder: str, kills: int, seed: int) -> dict[str, Any]:
    """A storm of so many kills; `folder` is for its board."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([work.__module__])
    store.current()  # before there are children: all of them join it
    gc.freeze()  # children copy no page to look at what they never free
    one = Storm(folder, seed)
    try:
        return one.run(kills)
    except BaseException:
        one.give_up()
        raise
