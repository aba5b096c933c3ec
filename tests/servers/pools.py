"""Pools of every kind doing the application's work; each function runs in a fresh interpreter.

Returns what the processes' pages said: those before one of them was killed, and those after.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from tests.servers import app
from tests.servers.driver import FIRST, LATER, PATIENCE

Pages = dict[int, str]


def two(ask: Callable[[], list[tuple[int, str]]]) -> Pages:
    """Pages of two processes, as a pool gives them."""
    found: Pages = {}
    deadline = time.monotonic() + PATIENCE
    while len(found) < 2:
        assert time.monotonic() < deadline, f"only {set(found)} answered"
        found.update(ask())
    return found


def end() -> None:
    """What a task does that kills its process: between tasks, it could hold the pool's own lock."""
    os.kill(os.getpid(), signal.SIGKILL)


# ---- Process -------------------------------------------------------------------------------------


def serve(pipe: Connection) -> None:
    """A worker: does a task for each number it is sent, and shows its page for each 0."""
    while (tasks := pipe.recv()) is not None:
        for _ in range(tasks):
            app.count()
        pipe.send(app.page())


def process(method: str) -> tuple[Pages, Pages]:
    context: Any = multiprocessing.get_context(method)

    def start() -> tuple[Any, Connection]:
        ours, theirs = context.Pipe()
        child = context.Process(target=serve, args=(theirs,))
        child.start()
        theirs.close()
        return child, ours

    def share(workers: list[tuple[Any, Connection]], tasks: int) -> Pages:
        for number in (tasks // 2, 0):
            for _, pipe in workers:
                pipe.send(number)
            pages = dict(pipe.recv() for _, pipe in workers)
        return pages

    workers = [start(), start()]
    before = share(workers, FIRST)
    workers[0][0].kill()
    workers[0][0].join(PATIENCE)
    workers[0] = start()
    after = share(workers, LATER)
    for child, pipe in workers:
        pipe.send(None)
        child.join(PATIENCE)
    return before, after


# ---- Pool ----------------------------------------------------------------------------------------


def pool(method: str) -> tuple[Pages, Pages]:
    context: BaseContext = multiprocessing.get_context(method)
    with context.Pool(2) as workers:

        def work(tasks: int) -> None:
            asked = [workers.apply_async(app.work) for _ in range(tasks)]
            for each in asked:
                each.get(PATIENCE)

        def ask() -> list[tuple[int, str]]:
            asked = [workers.apply_async(app.page) for _ in range(4)]
            return [each.get(PATIENCE) for each in asked]

        work(FIRST)
        before = two(ask)
        workers.apply_async(end)
        work(LATER)
        return before, two(ask)


# ---- executors -----------------------------------------------------------------------------------


def executor(method: str) -> tuple[Pages, Pages]:
    context = multiprocessing.get_context(method)
    return in_turn(lambda: ProcessPoolExecutor(2, mp_context=context), BrokenProcessPool)


def in_turn(make: Callable[[], Executor], broken: type[Exception]) -> tuple[Pages, Pages]:
    """A killed worker ends such an executor; the next one goes on counting."""
    with make() as first:
        work(first, FIRST)
        before = two(lambda: show(first))
        with contextlib.suppress(broken):
            first.submit(end).result(PATIENCE)
    with make() as second:
        work(second, LATER)
        return before, two(lambda: show(second))


def work(on: Executor, tasks: int) -> None:
    for each in [on.submit(app.work) for _ in range(tasks)]:
        each.result(PATIENCE)


def show(on: Executor) -> list[tuple[int, str]]:
    return [each.result(PATIENCE) for each in [on.submit(app.page) for _ in range(4)]]


def loky() -> tuple[Pages, Pages]:
    from loky import get_reusable_executor
    from loky.process_executor import TerminatedWorkerError

    return in_turn(lambda: get_reusable_executor(max_workers=2), TerminatedWorkerError)


def joblib() -> tuple[Pages, Pages]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with Parallel(n_jobs=2) as parallel:
        parallel(delayed(app.work)() for _ in range(FIRST))
        before = two(lambda: list(parallel(delayed(app.page)() for _ in range(4))))
    with contextlib.suppress(TerminatedWorkerError), Parallel(n_jobs=2) as parallel:
        parallel(delayed(end)() for _ in range(2))
    with Parallel(n_jobs=2) as parallel:
        parallel(delayed(app.work)() for _ in range(LATER))
        return before, two(lambda: list(parallel(delayed(app.page)() for _ in range(4))))
