"""
Context managers that are decorators too, for every kind of function.

    around               runs a function inside a context: what `time()` and the rest are made of
    InprogressTracker    what `Gauge.track_inprogress()` returns
    ExceptionCounter     what `Counter.count_exceptions()` returns

The timer is a C type; it calls `around` with a callable that makes a fresh one.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast

__all__ = ["ExceptionCounter", "InprogressTracker", "around"]

P = ParamSpec("P")
R = TypeVar("R")
Yielded = TypeVar("Yielded")
Sent = TypeVar("Sent")
F = TypeVar("F", bound="Callable[..., object] | classmethod[Any, ..., Any]")

Context: TypeAlias = Callable[[], AbstractContextManager[object]]


def around(context: Context, function: F) -> F:
    """
    Return `function` so wrapped that each call runs inside a context manager of its own.

    The wrapper is of the function's kind (plain, coroutine, generator, async generator; below a
    staticmethod or classmethod too) and has its name and signature. `context()` is called and
    entered when the body takes its first step, and left with what ends it: the return, the error,
    the cancellation, `close()`, or the garbage collector. What was made but never started enters
    nothing. Everything yielded, sent, thrown, returned and raised passes through as it is.

    The price: since the function is called at the first step, a coroutine or generator function
    given the wrong arguments says so there, inside the context, and not at the call. Each item
    of a generator costs some 150 ns more. A coroutine that awaits on after `close()` is ended.
    A context manager that suppresses an error ends the call with None, or the generator where
    it stands. A callable object becomes a function, of the kind of its `__call__`. A plain
    function that returns somebody else's coroutine or generator is plain: only the making of
    it is inside.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return cast(F, type(function)(around(context, function.__func__)))
    if not callable(function):
        raise TypeError(
            f"{function!r} is not callable, so it can't be decorated.\n"
            "Decorate the function inside: put this decorator below the other one."
        )
    return cast(F, _wrapping_for(function)(context, function))


def _wrapping_for(function: Callable[..., object]) -> Callable[[Context, Any], object]:
    body = _body(function)
    if _is_coroutine_function(function) or _is_coroutine_function(body):
        return _around_coroutine
    if inspect.isasyncgenfunction(body):
        return _around_async_generator
    if inspect.isgeneratorfunction(body):
        flags: int = body.__code__.co_flags
        return _around_awaitable if flags & inspect.CO_ITERABLE_COROUTINE else _around_generator
    return _around_plain


def _body(function: Any) -> Any:
    """Return what inspect should be asked about: the function that a partial or object calls."""
    while not inspect.isfunction(function):
        if isinstance(function, partial):
            function = function.func
        elif inspect.isfunction(call := type(function).__call__):
            function = call
        else:
            break
    return function


def _is_coroutine_function(function: Any) -> bool:
    if sys.version_info < (3, 12) and (asyncio := sys.modules.get("asyncio")):
        # Before inspect.markcoroutinefunction the mark was asyncio's. Not imported
        # for this: who has marked a function has imported it.
        return bool(asyncio.iscoroutinefunction(function))
    return inspect.iscoroutinefunction(function)


def _around_plain(context: Context, function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with context():
            return function(*args, **kwargs)

    return wrapper


def _around_coroutine(
    context: Context, function: Callable[P, Awaitable[R]]
) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with context():
            # Not step by step as the generators: debuggers follow cr_await.
            return await function(*args, **kwargs)

    return wrapper


def _around_generator(
    context: Context, function: Callable[P, Generator[Yielded, Sent, R]]
) -> Callable[P, Generator[Yielded, Sent, R]]:
    # Not `yield from`: it turns a GeneratorExit into a close() of its own, which loses
    # the value that close() returns (3.13), and ends a wrapper whose generator goes on.
    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Generator[Yielded, Sent, R]:
        with context():
            steps = function(*args, **kwargs)
            step: Callable[[Any], Yielded] = steps.send
            argument: object = None
            while True:
                try:
                    item = [step(argument)]
                except StopIteration as stop:
                    return cast(R, stop.value)
                finally:
                    argument = None  # an error's traceback holds this frame: no cycle
                try:
                    # Popped, lest this frame keep the item alive until the next step.
                    argument = yield item.pop()
                    step = steps.send
                except BaseException as error:
                    # Thrown in after this handler, or it would become the __context__
                    # of whatever the generator raises next.
                    step, argument = steps.throw, error

    return wrapper


def _around_awaitable(
    context: Context, function: Callable[P, Generator[Yielded, Sent, R]]
) -> Callable[P, Awaitable[R]]:
    """Wrap a generator function that `types.coroutine` has made awaitable."""
    return types.coroutine(_around_generator(context, function))


def _around_async_generator(
    context: Context, function: Callable[P, AsyncGenerator[Yielded, Sent]]
) -> Callable[P, AsyncGenerator[Yielded, Sent]]:
    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Yielded, Sent]:
        with context():
            steps = function(*args, **kwargs)
            step = _first_step(steps)
            while True:
                try:
                    item = [await step]
                except StopAsyncIteration:
                    return
                finally:
                    del step  # as in the generator's wrapper: no cycle
                try:
                    sent = yield item.pop()
                    step = steps.asend(sent)
                    del sent
                except BaseException as error:
                    step = steps.athrow(error)

    return wrapper


def _first_step(steps: AsyncGenerator[Yielded, Any]) -> Awaitable[Yielded]:
    """
    Begin an async generator unseen by the event loop, which finds hooks at the first step.

    The loop knows the wrapper. Knowing both, it would close both at once when it shuts down or
    when they are garbage, and the second to come would find the generator already running.
    """
    hooks = sys.get_asyncgen_hooks()
    # Not None where the loop has a finalizer: the garbage collector would then close
    # the generator itself, where it can't await, maybe before the wrapper's turn.
    finalizer = _leave_to_wrapper if hooks.finalizer else None
    sys.set_asyncgen_hooks(firstiter=None, finalizer=finalizer)
    try:
        return steps.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _leave_to_wrapper(steps: AsyncGenerator[object, Any]) -> None:
    pass


class _Incrementable(Protocol):
    def inc(self) -> object: ...


class _Adjustable(_Incrementable, Protocol):
    def dec(self) -> object: ...


class InprogressTracker:
    """
    Counts what is running: `inc()` on the way in, `dec()` on the way out, whatever the way.

    One tracker serves any number of threads, tasks and nested blocks at once; it has no state.
    A process killed inside never comes out: the gauge's mode decides what is seen of it.
    """

    def __init__(self, gauge: _Adjustable) -> None:
        self._gauge = gauge

    def __enter__(self) -> None:
        self._gauge.inc()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._gauge.dec()

    def __call__(self, function: F) -> F:
        return around(lambda: self, function)


class ExceptionCounter:
    """
    Counts the exceptions of the given type, or types, that pass through; it stops none.

    `close()` and cancellation pass through as GeneratorExit and CancelledError, which are no
    Exception: they are counted only if asked for by name, or as BaseException.
    """

    def __init__(
        self,
        counter: _Incrementable,
        exception: type[BaseException] | tuple[type[BaseException], ...],
    ) -> None:
        self._counter = counter
        self._exception = exception

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> Literal[False]:
        if isinstance(error, self._exception):
            self._counter.inc()
        return False

    def __call__(self, function: F) -> F:
        return around(lambda: self, function)
