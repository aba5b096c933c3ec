"""Processes that do what they are told, one thing after the other, and answer."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

LIMIT = 30.0


def _serve(connection: Any) -> None:
    while True:
        function, args = connection.recv()
        if function is None:
            return
        try:
            connection.send((True, function(*args)))
        except Exception as error:
            connection.send((False, f"{type(error).__name__}: {error}"))


class Actor:
    """A child of this process; `with` ends it."""

    def __init__(self, method: str) -> None:
        context = multiprocessing.get_context(method)
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function, found by its name, returns there; its exception as RuntimeError."""
        self._connection.send((function, args))
        assert self._connection.poll(LIMIT), f"{function.__name__} hangs"
        well, answer = self._connection.recv()
        if not well:
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        """It exits as any child does."""
        if self.process.exitcode is None:
            self._connection.send((None, ()))
            self.process.join(LIMIT)
        self._connection.close()
        assert self.process.exitcode is not None, "an actor hangs"

    def kill(self) -> None:
        self.process.kill()
        self.process.join(LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        self.end()
