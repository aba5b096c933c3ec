"""Forked workers that begin together, stay alive until told, and are always ended."""

import multiprocessing
from collections.abc import Callable
from types import TracebackType

PATIENCE = 120.0  # seconds: the bound of every wait, for a machine far slower than any of ours


class Crew:
    """
    `count` forked processes that each call `work(number)` once.

    They begin at `go`, `done` returns when all have finished, and all live until the `with`
    block ends. A worker that fails breaks the barrier, so its siblings and the parent don't wait.
    """

    def __init__(self, count: int, work: Callable[[int], None]) -> None:
        context = multiprocessing.get_context("fork")
        self._work = work
        self._begin = context.Barrier(count + 1)
        self._end = context.Barrier(count + 1)
        self._leave = context.Event()
        # Daemons: an exception in the parent must not end in multiprocessing's unbounded join.
        self._processes = [
            context.Process(target=self._live, args=(number,), daemon=True)
            for number in range(count)
        ]

    def _live(self, number: int) -> None:
        self._begin.wait(PATIENCE)
        try:
            self._work(number)
        except BaseException:
            self._end.abort()
            raise
        self._end.wait(PATIENCE)
        self._leave.wait(PATIENCE)

    def go(self) -> None:
        """Let all begin at once."""
        self._begin.wait(PATIENCE)

    def done(self) -> None:
        """Wait until all have worked."""
        self._end.wait(PATIENCE)

    def __enter__(self) -> "Crew":
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave.set()
        for process in self._processes:
            process.join(5.0 if error is None else 0.1)
            if process.is_alive():
                process.kill()
                process.join(5.0)
