import asyncio
import functools
import gc
import inspect
import operator
import sys
import threading
import types
import weakref
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress

import pytest
from hypothesis import given, strategies as st

from mpmetrics.decorators import ExceptionCounter, InprogressTracker, around


class Recorder:
    """Makes contexts that write down when they are entered, and with what they are left."""

    def __init__(self, *, suppress=False, on_leave=lambda: None):
        self.events = []
        self.made = 0
        self._suppress = suppress
        self._on_leave = on_leave

    def __call__(self):
        self.made += 1
        return _Recording(self, self._suppress, self._on_leave)

    @property
    def depth(self):
        return self.events.count("enter") - sum(event != "enter" for event in self.events)


class _Recording:
    def __init__(self, recorder, suppress, on_leave):
        self._recorder = recorder
        self._suppress = suppress
        self._on_leave = on_leave

    def __enter__(self):
        self._recorder.events.append("enter")

    def __exit__(self, kind, error, traceback):
        self._recorder.events.append(kind)
        self._on_leave()
        return self._suppress


class Value:
    """Stands for a Gauge or Counter."""

    def __init__(self):
        self.now = self.highest = 0

    def inc(self):
        self.now += 1
        self.highest = max(self.highest, self.now)

    def dec(self):
        self.now -= 1


@pytest.fixture
def recorder():
    return Recorder()


@types.coroutine
def pause():
    """Suspend a coroutine: what the innermost await of any event loop comes to."""
    return (yield "paused")


def outcome(function, *args):
    """What a call comes to, in a form that two calls can be compared by."""
    try:
        return ("value", function(*args))
    except BaseException as error:
        return ("error", repr(error), repr(error.__cause__), repr(error.__context__))


def finish(awaitable, interruption=None):
    """Await by hand, throwing the interruption in at the first pause."""
    steps = awaitable if inspect.isgenerator(awaitable) else awaitable.__await__()
    step, argument = steps.send, None
    try:
        while True:
            step(argument)
            if interruption is None:
                step, argument = steps.send, None
            else:
                step, argument, interruption = steps.throw, interruption(), None
    except StopIteration as stop:
        return stop.value


# Functions of every kind


def plain(a, b=2, *, c=3):
    """A docstring."""
    return a, b, c


async def coroutine(a, b=2, *, c=3):
    """A docstring."""
    await pause()
    return a, b, c


def generator(a, b=2, *, c=3):
    """A docstring."""
    yield a
    return a, b, c


async def async_generator(a, b=2, *, c=3):
    """A docstring."""
    await pause()
    yield a
    yield b


@types.coroutine
def awaitable_generator(a, b=2, *, c=3):
    """A docstring."""
    yield "paused"
    return a, b, c


KINDS = (plain, coroutine, generator, async_generator, awaitable_generator)
every_kind = pytest.mark.parametrize("function", KINDS, ids=operator.attrgetter("__name__"))


def kind(function):
    return (
        inspect.iscoroutinefunction(function),
        inspect.isgeneratorfunction(function),
        inspect.isasyncgenfunction(function),
    )


def run(started):
    """Run whatever a call returned to its end, and return all that it gave."""
    if inspect.isawaitable(started):
        return finish(started)
    if inspect.isasyncgen(started):
        items = []
        while (item := finish(anext(started, None))) is not None:
            items.append(item)
        return items
    if inspect.isgenerator(started):
        items = []
        while True:
            try:
                items.append(next(started))
            except StopIteration as stop:
                return [*items, stop.value]
    return started


@every_kind
def test_wrapper_is_of_the_same_kind(function, recorder):
    """inspect cannot tell a wrapper from its function: kind, signature, name and docstring."""
    wrapper = around(recorder, function)

    assert kind(function) == kind(wrapper)
    assert inspect.signature(function) == inspect.signature(wrapper)
    assert function.__name__ == wrapper.__name__
    assert function.__qualname__ == wrapper.__qualname__
    assert function.__module__ == wrapper.__module__
    assert function.__doc__ == wrapper.__doc__
    assert function is wrapper.__wrapped__


@every_kind
def test_result_passes_through(function, recorder):
    """A call gives the same through the wrapper, and runs inside one context."""
    assert run(function(1, c=4)) == run(around(recorder, function)(1, c=4))
    assert ["enter", None] == recorder.events


@every_kind
def test_partial_is_of_its_functions_kind(function, recorder):
    """A partial, also of a partial, is wrapped as what it calls."""
    bound = functools.partial(functools.partial(function, 1), c=4)
    wrapper = around(recorder, bound)

    assert kind(bound) == kind(wrapper)
    assert inspect.signature(bound) == inspect.signature(wrapper)
    assert run(function(1, c=4)) == run(wrapper())
    assert ["enter", None] == recorder.events


@every_kind
def test_callable_object_is_of_its_calls_kind(function, recorder):
    """An object is wrapped as its `__call__`, also inside a partial."""

    class Calling:
        __call__ = function  # `a` is self

    calling = Calling()

    for wrapper in (around(recorder, calling), around(recorder, functools.partial(calling))):
        assert kind(function) == kind(wrapper)
        assert run(calling(b=5)) == run(wrapper(b=5))
    assert ["enter", None] * 2 == recorder.events


@every_kind
def test_methods(function, recorder):
    """A function decorated in a class body is a method, under staticmethod or classmethod too."""

    class Owner:
        method = around(recorder, function)
        static_above = staticmethod(around(recorder, function))
        static_below = around(recorder, staticmethod(function))
        class_above = classmethod(around(recorder, function))
        class_below = around(recorder, classmethod(function))

    owner = Owner()
    bound = around(recorder, types.MethodType(function, owner))

    assert run(function(owner)) == run(owner.method())
    assert run(function(1)) == run(Owner.static_above(1)) == run(owner.static_below(1))
    assert run(function(Owner)) == run(Owner.class_above()) == run(owner.class_below())
    assert run(function(owner)) == run(bound())
    assert kind(function) == kind(Owner.static_below) == kind(Owner.class_below) == kind(bound)
    assert isinstance(vars(Owner)["static_below"], staticmethod)
    assert isinstance(vars(Owner)["class_below"], classmethod)
    assert ["enter", None] * 6 == recorder.events


def test_abstract_methods_stay_abstract(recorder):
    """Decorating an abstract method does not make its class complete."""

    class Base(ABC):
        @functools.partial(around, recorder)
        @abstractmethod
        def method(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()


@pytest.mark.parametrize("as_object", [False, True])
def test_marked_coroutine_function(as_object, recorder):
    """What is marked as a coroutine function is measured until its awaitable ends."""

    class Marked:
        def __call__(self):
            return coroutine(1)

    def marked():
        return coroutine(1)

    if as_object:
        marked = Marked()
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(marked)
    else:
        marked._is_coroutine = asyncio.coroutines._is_coroutine
    wrapper = around(recorder, marked)
    started = wrapper()

    assert inspect.iscoroutinefunction(wrapper)
    assert "paused" == started.send(None)
    assert ["enter"] == recorder.events
    assert ("error", "StopIteration((1, 2, 3))") == outcome(started.send, None)[:2]
    assert ["enter", None] == recorder.events


def test_awaitable_generator_stays_awaitable(recorder):
    """What types.coroutine has marked can be awaited, also decorated."""

    async def main():
        return await around(recorder, awaitable_generator)(1)

    assert (1, 2, 3) == finish(main())
    assert ["enter", None] == recorder.events


@pytest.mark.parametrize("thing", [property(plain), functools.partialmethod(plain), 5])
def test_what_cannot_be_called_is_refused(thing, recorder):
    """Decorating a property is an error at once, which says what to do."""
    with pytest.raises(TypeError, match="below the other"):
        around(recorder, thing)


# When the context is entered and left


@pytest.mark.parametrize("function", KINDS[1:], ids=operator.attrgetter("__name__"))
def test_never_started_enters_nothing(function, recorder):
    """What was made and closed or dropped before its first step made no context."""
    wrapper = around(recorder, function)
    closed = wrapper(1)
    if inspect.isasyncgen(closed):
        finish(closed.aclose())
    else:
        closed.close()

    assert 0 == recorder.made


def test_never_awaited_coroutine_is_warned_of_by_its_name(recorder):
    """Forgetting to await a decorated coroutine warns as for the undecorated."""
    wrapper = around(recorder, coroutine)

    with pytest.warns(RuntimeWarning, match="coroutine 'coroutine' was never awaited"):
        wrapper(1)
    assert 0 == recorder.made


@every_kind
def test_wrong_arguments_are_an_error_inside(function, recorder):
    """A call with wrong arguments raises TypeError inside the context, so it is counted."""
    with pytest.raises(TypeError):
        run(around(recorder, function)())
    assert ["enter", TypeError] == recorder.events


def test_error_passes_through_unchanged(recorder):
    """The very exception object leaves the context and the wrapper."""
    error = ValueError("no")

    def fail():
        raise error

    with pytest.raises(ValueError) as caught:
        around(recorder, fail)()
    assert error is caught.value
    assert ["enter", ValueError] == recorder.events


@every_kind
def test_suppressing_context_ends_the_call(function):
    """When the context manager suppresses an error, the call ends, with None for a value."""
    recorder = Recorder(suppress=True)

    ended = run(around(recorder, function)())

    assert ended in (None, [], [None])
    assert ["enter", TypeError] == recorder.events


def test_generator_is_measured_from_first_step_to_close(recorder):
    """The context of a generator is entered at the first next() and left by close()."""
    started = around(recorder, generator)(1)
    assert [] == recorder.events
    next(started)
    assert ["enter"] == recorder.events
    started.close()
    assert ["enter", GeneratorExit] == recorder.events


def test_dropped_generator_leaves(recorder):
    """A generator that is dropped half-way leaves its context, at once or with its cycle."""
    started = around(recorder, generator)(1)
    next(started)
    del started
    assert ["enter", GeneratorExit] == recorder.events

    cycle = [around(recorder, generator)(1)]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()
    assert ["enter", GeneratorExit] * 2 == recorder.events


def test_item_is_not_kept_alive(recorder):
    """Between two steps the wrappers hold neither the item yielded nor the value sent."""

    class Item:
        pass

    def giving():
        while True:
            yield Item()

    async def giving_async():
        while True:
            yield Item()

    def outlives(give):
        reference = weakref.ref(give())
        return reference() is not None

    def passing(send):
        def give():
            item = Item()
            send(item)
            return item

        return give

    started = around(recorder, giving)()
    assert not outlives(started.__next__)
    assert not outlives(passing(started.send))
    started.close()

    started = around(recorder, giving_async)()
    assert not outlives(lambda: finish(anext(started)))
    assert not outlives(passing(lambda item: finish(started.asend(item))))
    finish(started.aclose())


def test_error_makes_no_cycle(recorder):
    """An error thrown in is freed when the last reference goes, without the collector."""

    class Mistake(Exception):
        pass

    def is_freed(throw, then=bool):
        error = Mistake()
        reference = weakref.ref(error)
        gc.disable()
        try:
            with suppress(Mistake):
                then(throw(error))
            del error  # or this frame would be part of a cycle
            return reference() is None
        finally:
            gc.enable()

    started = around(recorder, generator)(1)
    next(started)
    assert is_freed(started.throw)

    started = around(recorder, async_generator)(1)
    finish(anext(started))
    assert is_freed(started.athrow, then=operator.methodcaller("send", None))

    started = around(recorder, coroutine)(1)
    started.send(None)
    assert is_freed(started.throw)


# The same steps, with and without the wrapper, come to the same

ERRORS = (ValueError, StopIteration, StopAsyncIteration, GeneratorExit, asyncio.CancelledError)
errors = st.sampled_from(ERRORS)
# Without GeneratorExit: any await answers that by closing what it awaits, as here the wrapper's.
interruptions = st.none() | errors.filter(lambda error: error is not GeneratorExit)
reactions = st.sampled_from(("go on", "raise", "raise another", "return", "yield inside"))
scripts = st.lists(reactions, max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("next")),
        st.tuples(st.just("send"), st.none() | st.integers(0, 9)),
        st.tuples(st.just("throw"), errors),
        st.tuples(st.just("close")),
    ),
    max_size=10,
)
interrupted_steps = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("__anext__")),
            st.tuples(st.just("asend"), st.none() | st.integers(0, 9)),
            st.tuples(st.just("athrow"), errors),
            st.tuples(st.just("aclose")),
        ),
        interruptions,
    ),
    max_size=10,
)


def acting(script, log):
    """A generator that reacts to what is thrown in as the script says, and logs what it sees."""
    for number, reaction in enumerate(script):
        try:
            log.append((yield number))
        except BaseException as error:
            log.append(repr(error))
            if reaction == "raise":
                raise
            if reaction == "raise another":
                raise KeyError(number) from None
            if reaction == "return":
                return ("early", number)
            if reaction == "yield inside":
                log.append((yield "inside"))
        log.append(repr(sys.exc_info()[1]))
    if len(script) % 2:
        raise LookupError("at the end")
    return ("late", len(script))


async def acting_async(script, log):
    """As `acting`, with a pause before each step and each reaction."""
    for number, reaction in enumerate(script):
        try:
            await pause()
            log.append((yield number))
        except BaseException as error:
            log.append(repr(error))
            await pause()
            if reaction == "raise":
                raise
            if reaction == "raise another":
                raise KeyError(number) from None
            if reaction == "return":
                return
            if reaction == "yield inside":
                log.append((yield "inside"))
        log.append(repr(sys.exc_info()[1]))
    if len(script) % 2:
        raise LookupError("at the end")


def play(function, script, plan):
    log = []
    started = function(script, log)
    outcomes = []
    # Every script ends, whatever it does with a GeneratorExit: so does what is asked of it.
    for name, *argument in [*plan, *[("next",)] * (2 * len(script) + 1)]:
        step = next if name == "next" else getattr(type(started), name)
        argument = [argument[0]("thrown")] if name == "throw" else argument
        outcomes.append(outcome(step, started, *argument))
        outcomes.append(inspect.getgeneratorstate(started))
    return outcomes, log


def play_async(function, script, plan):
    log = []
    started = function(script, log)
    outcomes = []
    for (name, *argument), interruption in [
        *plan,
        *[(("__anext__",), None)] * (2 * len(script) + 1),
    ]:
        argument = [argument[0]("thrown")] if name == "athrow" else argument
        step = getattr(started, name)
        outcomes.append(outcome(lambda s=step, a=argument, i=interruption: finish(s(*a), i)))
        outcomes.append(started.ag_frame is None)
    return outcomes, log


@given(script=scripts, plan=steps)
def test_generator_equals_model(script, plan):
    """No sequence of next, send, throw and close tells a wrapped generator from a bare one."""
    recorder = Recorder()

    expected = play(acting, script, plan)

    assert expected == play(around(recorder, acting), script, plan)
    # One context, left; or none if it was closed before it began.
    assert recorder.made <= 1
    assert 0 == recorder.depth


# The generator may refuse aclose(), and is then dropped unfinished: Python says so, of both.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(script=scripts, plan=interrupted_steps)
def test_async_generator_equals_model(script, plan):
    """Nor asend, athrow and aclose, interrupted at any await, a wrapped async generator."""
    recorder = Recorder()

    expected = play_async(acting_async, script, plan)
    actual = play_async(around(recorder, acting_async), script, plan)

    assert expected == actual
    assert recorder.made <= 1
    finished = actual[0][-1]
    assert 0 == recorder.depth or not finished


@given(pauses=st.integers(0, 3), interruption=interruptions, reaction=reactions)
def test_coroutine_equals_model(pauses, interruption, reaction):
    """A coroutine interrupted at an await comes to the same wrapped and bare."""
    recorder = Recorder()

    async def act():
        try:
            for _ in range(pauses):
                await pause()
        except BaseException:
            await pause()
            if reaction == "raise":
                raise
            if reaction == "raise another":
                raise KeyError(pauses) from None
        return pauses

    expected = outcome(finish, act(), interruption)

    assert expected == outcome(finish, around(recorder, act)(), interruption)
    assert 1 == recorder.made
    assert 0 == recorder.depth


# In an event loop


def test_cancelled_coroutine_leaves(recorder):
    """A cancelled task leaves the context with CancelledError, after its own cleaning up."""

    async def wait(begun, events):
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("cleaned")

    async def main():
        begun = asyncio.Event()
        task = asyncio.create_task(around(recorder, wait)(begun, recorder.events))
        await begun.wait()
        assert ["enter"] == recorder.events
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert ["enter", "cleaned", asyncio.CancelledError] == recorder.events


def test_break_and_aclose_leave(recorder):
    """Breaking out of `async for` leaves the context when the generator is closed, not before."""

    async def main():
        async with aclosing(around(recorder, counting)()) as numbers:
            async for _ in numbers:
                break
            assert ["enter"] == recorder.events

    asyncio.run(main())
    assert ["enter", GeneratorExit] == recorder.events


async def counting():
    """An async generator whose cleaning up needs the event loop."""
    try:
        for number in range(9):
            yield number
    finally:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def complaints():
    """What the running loop's exception handler is told from here on."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    return told


def test_abandoned_async_generator_leaves_when_the_loop_ends(recorder):
    """A loop that shuts down closes what was left open, and has nothing to complain of."""
    left = []

    async def main():
        numbers = around(recorder, counting)()
        left.append(numbers)
        await anext(numbers)
        return complaints()

    assert [] == asyncio.run(main())
    assert ["enter", GeneratorExit] == recorder.events


@pytest.mark.parametrize("cyclic", [False, True])
def test_dropped_async_generator_is_closed_by_the_loop(cyclic):
    """A dropped async generator leaves its context, its cleaning up awaited, without complaint."""

    async def main():
        left = asyncio.Event()
        recorder = Recorder(on_leave=left.set)
        told = complaints()
        keep = [around(recorder, counting)()]
        await anext(keep[0])
        if cyclic:
            keep.append(keep)
        del keep
        gc.collect()
        await left.wait()
        return recorder.events, told

    assert (["enter", GeneratorExit], []) == asyncio.run(main())


def test_async_generator_dropped_in_an_await_cleans_up(recorder):
    """Without an event loop, what is dropped while it waits still leaves, and cleans up."""

    async def wait():
        try:
            await pause()
            yield 1
        finally:
            recorder.events.append("cleaned")

    started = around(recorder, wait)()
    step = anext(started).__await__()
    assert "paused" == step.send(None)
    del step, started
    gc.collect()
    assert {"enter", "cleaned", GeneratorExit} == set(recorder.events)
    assert 3 == len(recorder.events)


def test_event_loop_hooks_are_put_back(recorder):
    """Hiding the inner generator from the event loop leaves the thread's hooks as they were."""
    seen = []
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=seen.append, finalizer=None)
    try:
        hooks = sys.get_asyncgen_hooks()
        started = around(recorder, async_generator)(1)
        finish(anext(started))
        assert hooks == sys.get_asyncgen_hooks()
        assert [started] == seen
        finish(started.aclose())
    finally:
        sys.set_asyncgen_hooks(*before)


# Many at once


def test_recursion_has_a_context_for_each_call(recorder):
    """A function that calls itself enters a new context each time, and leaves all in order."""

    @functools.partial(around, recorder)
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert 120 == factorial(5)
    assert ["enter"] * 6 + [None] * 6 == recorder.events
    assert 6 == recorder.made


def test_interleaved_generators_have_contexts_of_their_own(recorder):
    """Two generators of one decorated function share nothing."""
    wrapper = around(recorder, generator)
    first, second = wrapper(1), wrapper(2)

    assert [1, 2] == [next(first), next(second)]
    first.close()
    assert 1 == recorder.depth
    assert (2, 2, 3) == run(second)[-1]
    assert ["enter", "enter", GeneratorExit, None] == recorder.events


def test_threads_have_contexts_of_their_own(recorder):
    """Threads inside one decorated function at the same time are each in their own context."""
    together = threading.Barrier(4)

    @functools.partial(around, recorder)
    def meet(number):
        together.wait()
        assert 4 == recorder.depth
        together.wait()
        return number

    with ThreadPoolExecutor(4) as pool:
        assert [0, 1, 2, 3] == list(pool.map(meet, range(4)))
    assert 4 == recorder.made
    assert 0 == recorder.depth


# The trackers


@every_kind
def test_inprogress_counts_every_kind(function):
    """The gauge stands at one while a decorated function of any kind runs, and at nought after."""
    gauge = Value()

    run(InprogressTracker(gauge)(function)(1))

    assert (0, 1) == (gauge.now, gauge.highest)


def test_inprogress_nests():
    """One tracker may be entered again while it is entered, and errors don't upset it."""
    gauge = Value()
    tracker = InprogressTracker(gauge)

    with pytest.raises(ValueError), tracker, tracker:
        raise ValueError
    assert (0, 2) == (gauge.now, gauge.highest)


def test_trackers_enter_as_none():
    """`with … as x` gives None, as with prometheus_client."""
    with InprogressTracker(Value()) as inside:
        assert inside is None
    with ExceptionCounter(Value(), Exception) as inside:
        assert inside is None


@pytest.mark.parametrize(
    ("expected", "asked", "raised"),
    [
        (1, ValueError, ValueError),
        (1, Exception, ValueError),
        (0, KeyError, ValueError),
        (1, (KeyError, ValueError), ValueError),
        (0, (), ValueError),
        (0, Exception, KeyboardInterrupt),
        (1, BaseException, KeyboardInterrupt),
    ],
)
def test_exceptions_are_counted_by_type(expected, asked, raised):
    """An exception is counted if it is an instance of the type, or of one in the tuple."""
    counter = Value()

    with pytest.raises(raised), ExceptionCounter(counter, asked):
        raise raised
    assert expected == counter.now


def test_no_exception_counts_nothing():
    """A block that ends well is not counted."""
    counter = Value()
    with ExceptionCounter(counter, BaseException):
        pass
    assert 0 == counter.now


@pytest.mark.parametrize(("expected", "asked"), [(0, Exception), (1, GeneratorExit)])
def test_close_is_counted_only_if_asked_for(expected, asked):
    """Closing a generator half-way is no Exception; who wants it counted names GeneratorExit."""
    counter = Value()
    started = ExceptionCounter(counter, asked)(generator)(1)
    next(started)
    started.close()

    assert expected == counter.now


def test_exception_in_a_coroutine_is_counted():
    """An error after the first await counts, though the call itself went well."""
    counter = Value()

    @ExceptionCounter(counter, ValueError)
    async def fail():
        await pause()
        raise ValueError

    with pytest.raises(ValueError):
        finish(fail())
    assert 1 == counter.now
