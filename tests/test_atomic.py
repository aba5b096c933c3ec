"""Atomics: values, overflow, bad input, and that several processes lose nothing."""

from __future__ import annotations

import math
import multiprocessing
from typing import Any

import pytest
from hypothesis import given, strategies as st
from tests.programs import LIMIT

from mpmetrics.atomic import AtomicDouble, AtomicInt64, AtomicUInt64
from mpmetrics.heap import Heap
from mpmetrics.types import Box

INTEGERS = {AtomicInt64: (-(2**63), 2**63 - 1), AtomicUInt64: (0, 2**64 - 1)}
TYPES = [AtomicInt64, AtomicUInt64, AtomicDouble]


@pytest.mark.parametrize("kind", TYPES)
def test_first_value(kind):
    """A new atomic is zero, whatever was in its memory."""
    memory = bytearray(b"\xff" * 8)

    assert 0 == kind(memory).get()
    assert bytes(8) == memory


@pytest.mark.parametrize("kind", TYPES)
def test_add_returns_the_old_value(kind):
    """add returns what was there before; get what is there."""
    atomic = kind(bytearray(8))

    assert [0, 5, 12] == [atomic.add(5), atomic.add(7), atomic.add(amount=1)]
    assert 13 == atomic.get()
    atomic.set(3)
    assert 3 == atomic.get()


@pytest.mark.parametrize("kind", INTEGERS)
@given(data=st.data())
def test_integers_wrap(kind, data):
    """A sum is exact, or it wraps by 2**64 and OverflowError says so, unless told not to."""
    low, high = INTEGERS[kind]
    start = data.draw(st.integers(low, high) | st.sampled_from((low, low + 1, high - 1, high)))
    amounts = st.integers(-(2**64) + 1, 2**64 - 1) | st.sampled_from((-1, 0, 1, low, high))
    amount = data.draw(amounts)
    told, untold = kind(bytearray(8)), kind(bytearray(8))
    told.set(start)
    untold.set(start)
    wrapped = (start + amount - low) % 2**64 + low

    if low <= start + amount <= high:
        assert start == told.add(amount)
    else:
        with pytest.raises(OverflowError, match="wrapped"):
            told.add(amount)
    assert start == untold.add(amount, raise_on_overflow=False)
    assert (wrapped, wrapped) == (told.get(), untold.get())


@given(start=st.floats(), amount=st.floats())
def test_doubles_become_infinite(start, amount):
    """A sum of doubles is Python's; one of finite numbers that is infinite is an overflow."""
    told, untold = AtomicDouble(bytearray(8)), AtomicDouble(bytearray(8))
    told.set(start)
    untold.set(start)
    sum_ = start + amount

    if math.isfinite(start) and math.isfinite(amount) and math.isinf(sum_):
        with pytest.raises(OverflowError):
            told.add(amount)
    else:
        assert repr(start) == repr(told.add(amount))
    assert repr(start) == repr(untold.add(amount, False))
    assert [repr(sum_)] * 2 == [repr(told.get()), repr(untold.get())]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("value", ["1", None, b"1", [], 1j])
def test_what_is_no_number(kind, value):
    """What is no number is a TypeError and changes nothing; an integer is asked for as such."""
    atomic = kind(bytearray(8))
    atomic.set(7)
    for method in (atomic.add, atomic.set):
        with pytest.raises(TypeError):
            method(value)
    if kind is not AtomicDouble:
        for method in (atomic.add, atomic.set):
            with pytest.raises(TypeError):
                method(1.0)
    assert 7 == atomic.get()


@pytest.mark.parametrize("kind", INTEGERS)
def test_what_is_too_large(kind):
    """What no 64 bits hold is an OverflowError before anything has changed."""
    low, high = INTEGERS[kind]
    atomic = kind(bytearray(8))
    atomic.set(7)
    for value in (low - 1, high + 1, 2**200, -(2**200)):
        with pytest.raises(OverflowError):
            atomic.set(value)
    for amount in (2**64, -(2**64), 2**200):
        with pytest.raises(OverflowError):
            atomic.add(amount)
    assert 7 == atomic.get()


@pytest.mark.parametrize("kind", TYPES)
def test_memory_that_can_not_be(kind):
    """Memory that is too small, read-only or misaligned is refused."""
    misaligned = memoryview(bytearray(17))[1:]
    for memory, error in (
        (bytearray(7), ValueError),
        (bytes(8), TypeError),
        (memoryview(bytes(8)), TypeError),
        (misaligned, ValueError),
        (8, TypeError),
        (memoryview(bytearray(32))[::2], TypeError),
    ):
        with pytest.raises(error):
            kind(memory)


@pytest.mark.parametrize("kind", TYPES)
def test_before_it_has_memory(kind):
    """An object without memory says so; one with memory is given no other."""
    empty = kind.__new__(kind)
    with pytest.raises(ValueError, match="no memory"):
        empty.get()
    with pytest.raises(ValueError, match="no memory"):
        empty.add(1)
    with pytest.raises(ValueError, match="no memory"):
        empty.set(1)
    with pytest.raises(ValueError, match="already"):
        kind(bytearray(8))._over(bytearray(8))


def _add(atomic: Any, amount: float, times: int, start: Any) -> None:
    start.wait(LIMIT)
    for _ in range(times):
        atomic.add(amount)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TYPES)
def test_processes_lose_nothing(ctx, kind):
    """Four processes that add to one boxed atomic at the same time lose nothing."""
    times = 20_000
    atomic = Box[kind](Heap(1 << 20))
    start = ctx.Barrier(4)
    children = [ctx.Process(target=_add, args=(atomic, 1, times, start)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(LIMIT)

    assert [0] * 4 == [child.exitcode for child in children]
    assert 4 * times == atomic.get()


def test_forked_child_shares():
    """A forked child's atomic is the parent's, without a pickle."""
    atomic = Box[AtomicInt64](Heap(1 << 20))
    ctx = multiprocessing.get_context("fork")
    child = ctx.Process(target=lambda: atomic.add(3))
    child.start()
    child.join(LIMIT)

    assert 3 == atomic.get()
