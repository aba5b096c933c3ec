"""The users' lock: exclusion, errors, waiting, and owners that are killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
from typing import Any

import pytest
from tests.programs import LIMIT

from mpmetrics.heap import Heap
from mpmetrics.lock import Lock
from mpmetrics.types import Array, Box, Int64

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def lock() -> Lock:
    return Box[Lock](Heap(1 << 20))


def in_thread(call: Any) -> Any:
    """What `call` returns, or the exception that it raises, in another thread."""
    answer: list[Any] = []

    def run() -> None:
        try:
            answer.append(call())
        except Exception as error:
            answer.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LIMIT)
    return answer[0]


# ---- one process ---------------------------------------------------------------------------------


def test_acquire_and_release(lock):
    """A lock is free, then held, then free again; nobody has died."""
    assert not lock.locked()
    assert lock.acquire()
    assert lock.locked()
    assert not lock.owner_died
    lock.release()
    assert not lock.locked()


def test_with(lock):
    """`with` holds it, and gives the lock; an error inside passes, and releases it."""
    with lock as held:
        assert held is lock
        assert lock.locked()
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert not lock.locked()


def test_not_reentrant(lock):
    """A second acquire by its holder is an error, at once, and the lock stays held."""
    with lock:
        for arguments in ({}, {"block": False}, {"timeout": 1}):
            with pytest.raises(RuntimeError, match="already"):
                lock.acquire(**arguments)
        with pytest.raises(RuntimeError), lock:
            pass
        assert lock.locked()


def test_release_of_what_one_does_not_hold(lock):
    """Releasing a free lock is an error, and so is releasing another thread's."""
    with pytest.raises(RuntimeError, match="hold"):
        lock.release()
    with lock:
        assert isinstance(in_thread(lock.release), RuntimeError)
        assert lock.locked()


def test_threads_exclude_each_other(lock):
    """Another thread of the same process waits, or is refused, as another process is."""
    with lock:
        assert in_thread(lambda: lock.acquire(block=False)) is False
        assert in_thread(lambda: lock.acquire(timeout=0.05)) is False
    assert in_thread(lambda: (lock.acquire(timeout=LIMIT), lock.release())) == (True, None)


def test_views_are_one_lock(lock):
    """Two objects over one memory are one lock."""
    other = pickle.loads(pickle.dumps(lock))
    with lock:
        assert other.locked()
        with pytest.raises(RuntimeError):
            other.acquire()
        other.release()
        assert not lock.locked()
        other.acquire()


def test_timeout(lock):
    """A timeout is kept, a negative one is none, and what is no number is refused."""
    with lock:

        def wait(timeout: Any) -> tuple[bool, float]:
            began = time.monotonic()
            return lock.acquire(timeout=timeout), time.monotonic() - began

        taken, waited = in_thread(lambda: wait(0.2))
        assert not taken
        assert 0.2 <= waited < LIMIT / 2
        assert (False, True) == in_thread(lambda: (wait(-1)[0], wait(-1e300)[1] < LIMIT / 2))
        assert isinstance(in_thread(lambda: wait(float("nan"))), ValueError)
        assert isinstance(in_thread(lambda: wait("1")), TypeError)


def test_waiting_lets_others_run(lock):
    """Who waits doesn't hold the interpreter, and gets the lock when it is released."""
    lock.acquire()
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(lock.acquire(timeout=LIMIT)))
    thread.start()
    time.sleep(0.05)
    assert [] == answers
    lock.release()
    thread.join(LIMIT)
    assert [True] == answers


def test_interrupted():
    """A signal's handler runs while its process waits, and may end the waiting."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    lock = Box[Lock](Heap(1 << 20))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(LIMIT)

    def interrupted() -> None:  # perhaps before it waits
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        lock.acquire(timeout=LIMIT)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(LIMIT)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        done.set()
        thread.join(LIMIT)


def test_only_in_a_heap():
    """A lock outside of a heap could not know who is alive: TypeError, and it names Box."""
    memory = bytearray(b"x" * 24)
    with pytest.raises(TypeError, match="Box"):
        Lock(memory)
    with pytest.raises(TypeError, match="Box"):
        Lock.__new__(Lock)._over(memory)
    assert b"x" * 24 == memory


def test_memory_that_can_not_be():
    """Memory in a heap that is too small or misaligned is a ValueError."""
    heap = Heap(1 << 20)
    view = heap.malloc(64).deref()
    for memory in (view[:23], view[1:]):
        with pytest.raises(ValueError):
            Lock._attach(memory, heap)


# ---- several processes ---------------------------------------------------------------------------


def _count(lock: Any, number: Any, times: int, start: Any) -> None:
    start.wait(LIMIT)
    for _ in range(times):
        with lock:
            number.value = number.value + 1


@pytest.mark.slow
def test_processes_exclude_each_other(ctx):
    """Four processes that read and write under one lock lose nothing."""
    heap = Heap(1 << 20)
    lock, number = Box[Lock](heap), Box[Int64](heap)
    start, times = ctx.Barrier(4), 500
    children = [ctx.Process(target=_count, args=(lock, number, times, start)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(LIMIT)

    assert [0] * 4 == [child.exitcode for child in children]
    assert 4 * times == number.value
    assert not lock.owner_died


def _hold_for_ever(lock: Any, held: Any) -> None:
    lock.acquire()
    held.set()
    time.sleep(LIMIT)


def test_owner_is_killed(ctx, lock):
    """A killed owner's lock goes to the next who asks, who is told; the one after that isn't."""
    held = ctx.Event()
    child = ctx.Process(target=_hold_for_ever, args=(lock, held))
    child.start()
    assert held.wait(LIMIT)
    assert not lock.acquire(block=False)
    child.kill()
    child.join(LIMIT)

    assert not lock.locked()
    assert lock.acquire(timeout=LIMIT)
    assert lock.owner_died
    lock.release()
    with lock:
        assert not lock.owner_died


def test_killed_while_another_waits(lock):
    """Who waits already notices the death at once."""
    held = FORK.Event()
    child = FORK.Process(target=_hold_for_ever, args=(lock, held))
    child.start()
    assert held.wait(LIMIT)
    timer = threading.Timer(0.1, child.kill)
    timer.start()

    assert lock.acquire(timeout=LIMIT)
    assert lock.owner_died
    timer.join()
    child.join(LIMIT)


def _use_parents(lock: Any, answers: Any) -> None:
    try:
        lock.release()
    except RuntimeError:
        answers.put("not mine")
    answers.put(lock.acquire(timeout=0.05))
    answers.put(lock.acquire(timeout=LIMIT))
    lock.release()


def test_child_has_not_its_parents_lock(lock):
    """A forked child can neither release nor enter its parent's lock; it waits for it."""
    answers = FORK.Queue()
    lock.acquire()
    child = FORK.Process(target=_use_parents, args=(lock, answers))
    child.start()
    assert "not mine" == answers.get(timeout=LIMIT)
    assert answers.get(timeout=LIMIT) is False
    lock.release()
    assert answers.get(timeout=LIMIT) is True
    child.join(LIMIT)
    assert 0 == child.exitcode


def _hog(lock: Any, started: Any) -> None:
    while True:
        with lock:
            started.set()
            time.sleep(0.001)


def test_nobody_starves(lock):
    """Who releases a lock and takes it again at once leaves it to one who waited."""
    started = FORK.Event()
    hogs = [FORK.Process(target=_hog, args=(lock, started)) for _ in range(2)]
    for hog in hogs:
        hog.start()
    assert started.wait(LIMIT)
    began = time.monotonic()
    for _ in range(20):
        assert lock.acquire(timeout=LIMIT)
        lock.release()
    waited = time.monotonic() - began
    for hog in hogs:
        hog.kill()
        hog.join(LIMIT)
    assert waited < LIMIT / 2


def test_stopped_while_it_is_next(lock):
    """Who was stopped while it waited keeps the lock from nobody."""
    lock.acquire()
    hog = FORK.Process(target=_hold_for_ever, args=(lock, FORK.Event()))
    hog.start()
    time.sleep(0.1)  # it is next
    os.kill(hog.pid, signal.SIGSTOP)
    lock.release()

    assert lock.acquire(timeout=LIMIT)
    hog.kill()
    hog.join(LIMIT)


def _exit_holding(lock: Any) -> None:
    lock.acquire()
    os._exit(0)


def test_owner_exits(lock):
    """An owner that ended without releasing is as dead as a killed one."""
    child = FORK.Process(target=_exit_holding, args=(lock,))
    child.start()
    child.join(LIMIT)

    assert lock.acquire(timeout=LIMIT)
    assert lock.owner_died


def _work(lock: Any, numbers: Any, seed: int) -> None:
    """Keeps two numbers equal under the lock; mends them after a death, and never else."""
    rng = random.Random(seed)
    while True:
        with lock:
            mend(lock, numbers)
            numbers[0].value += 1
            if rng.random() < 0.5:
                time.sleep(0.0005)
            numbers[1].value += 1


def mend(lock: Any, numbers: Any) -> None:
    """Counts the deaths that it is told of."""
    if lock.owner_died:
        numbers[1].value = numbers[0].value
        numbers[2].value += 1
    if numbers[0].value != numbers[1].value:
        os._exit(3)


@pytest.mark.slow
def test_killed_200_times():
    """SIGKILL of a holder at random times, 200 times: nobody hangs, and deaths are told.

    More often if too few of them had got to run before, let alone to hold it."""
    heap, rng = Heap(1 << 20), random.Random(11)
    lock, numbers = Box[Lock](heap), Box[Array[Int64, 3]](heap)

    def start(seed: int) -> Any:
        child = FORK.Process(target=_work, args=(lock, numbers, seed))
        child.start()
        return child

    children = [start(seed) for seed in range(2)]
    kills, enough, deadline = 0, False, time.monotonic() + LIMIT
    while kills < 200 or not (enough or time.monotonic() > deadline):
        kills += 1
        time.sleep(rng.uniform(0.001, 0.015))
        victim = children.pop(0)
        victim.kill()
        victim.join(LIMIT)
        assert -signal.SIGKILL == victim.exitcode
        children.append(start(kills + 1))
        assert lock.acquire(timeout=LIMIT)
        mend(lock, numbers)
        assert numbers[0].value == numbers[1].value
        enough = numbers[0].value > 200 and numbers[2].value > 20
        lock.release()
    for child in children:
        child.kill()
        child.join(LIMIT)
    assert enough, list(numbers)
