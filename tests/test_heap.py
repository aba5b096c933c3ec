"""Heaps and their blocks: what is promised about memory, pickles, the file's life, and kills."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import itertools
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.programs import LIMIT, run

from mpmetrics import _native, heap as heap_module, runfiles
from mpmetrics.heap import Block, GoneError, Heap

FOLDER = Path(f"/dev/shm/mpmetrics-heaps-{os.geteuid()}")
ALIGNMENTS = [1, 2, 4, 8, 16, 32, 64, 128, 4096, 65536, 1 << 20]


@pytest.fixture
def heap() -> Heap:
    """A heap of the test's own."""
    return Heap(1 << 26)


@pytest.fixture
def no_tmpfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nowhere is a folder that a file could be made in."""
    monkeypatch.setattr(runfiles, "folders", lambda kind: iter(()))


def address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def joined(process: Any) -> int:
    """The exit code, within a bound."""
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


# ---- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 8, 64, 65, 4096, 100_000, 10_000_000])
def test_block_is_one_piece(heap, size):
    """A block's bytes are exactly as many as asked for, contiguous, writable, and zero at first."""
    view = heap.malloc(size).deref()

    assert (size, 1, False, True) == (len(view), view.itemsize, view.readonly, view.contiguous)
    assert bytes(view) == bytes(size)
    view[:] = b"x" * size
    assert bytes(view) == b"x" * size


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_alignment(heap, alignment):
    """A block's address is a multiple of its alignment, whatever was allocated before."""
    for size in (1, 100, 64, 5000):
        heap.malloc(size)
        assert 0 == address(heap.malloc(size, alignment).deref()) % alignment


def _alignments(blocks: list[Block], answers: Any) -> None:
    answers.put([address(block.deref()) for block in blocks])


def test_alignment_elsewhere(ctx, heap):
    """So it is in every process, wherever the heap is mapped there."""
    blocks = [heap.malloc(10, alignment) for alignment in ALIGNMENTS]
    answers = ctx.Queue()
    child = ctx.Process(target=_alignments, args=(blocks, answers))
    child.start()
    there = answers.get(timeout=LIMIT)

    assert 0 == joined(child)
    assert [0] * len(blocks) == [
        at % alignment for at, alignment in zip(there, ALIGNMENTS, strict=True)
    ]


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_memory_is_used_again(heap, alignment):
    """What is freed is given out again: the file stops growing. And it is zero again."""

    def round_trip() -> int:
        blocks = [heap.malloc(size, alignment) for size in range(1, 3000, 7)]
        for block in blocks:
            view = block.deref()
            assert not any(view)
            view[:] = b"\xff" * len(view)
        for block in blocks:
            block.free()
        return heap.statistics().file_bytes

    assert round_trip() == round_trip() == round_trip()
    assert (0, 0) == (heap.statistics().used_bytes, heap.statistics().blocks)


def test_statistics(heap):
    """Statistics are a frozen dataclass of what is used, by all processes."""
    before = heap.statistics()
    block = heap.malloc(1000)
    after = heap.statistics()

    assert (before.blocks + 1, True) == (after.blocks, after.used_bytes >= 1000)
    assert after.file_bytes >= after.used_bytes
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.blocks = 0
    block.free()
    assert before == heap.statistics()


def test_view_keeps_the_heap():
    """A memoryview's memory stays as long as it does, whatever becomes of heap and block."""
    views = [Heap(1 << 20).malloc(1000).deref()[10:20]]
    gc.collect()
    views[0][:] = b"0123456789"
    assert b"0123456789" == bytes(views[0])
    views.append(Heap(1 << 20).malloc(1000).deref())
    views[1][:10] = b"9876543210"
    assert b"0123456789" == bytes(views[0])


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "alignment", "error"),
    [
        (0, 64, ValueError),
        (-1, 64, ValueError),
        (-(1 << 70), 64, ValueError),
        (8, 0, ValueError),
        (8, 3, ValueError),
        (8, -8, ValueError),
        (8, 48, ValueError),
        (8, 1 << 21, ValueError),
        (8, 1 << 70, ValueError),
        (8.0, 64, TypeError),
        ("8", 64, TypeError),
        (8, 64.0, TypeError),
        (1 << 70, 64, MemoryError),
        (1 << 40, 64, MemoryError),
    ],
)
def test_bad_malloc(heap, size, alignment, error):
    """What no block can be is refused, and nothing has changed."""
    before = heap.statistics()
    with pytest.raises(error):
        heap.malloc(size, alignment)
    assert before == heap.statistics()


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-1, ValueError), (1 << 39, ValueError), (1.0, TypeError)]
)
def test_bad_size(size, error):
    """A heap of no bytes, or of more than any can have, is refused; no file is left."""

    def mine() -> set[str]:  # other tests make heaps meanwhile
        names = os.listdir(FOLDER) if FOLDER.exists() else []
        return {name for name in names if name.startswith(f"{os.getpid()}-")}

    before = mine()
    with pytest.raises(error):
        Heap(size)
    assert set() == mine() - before


def test_freed_block(heap):
    """A freed block can be neither read nor freed again, and the error says so."""
    block, copy = heap.malloc(100), None
    copy = pickle.loads(pickle.dumps(block))
    block.free()
    for each in (block, copy):
        with pytest.raises(GoneError, match="freed"):
            each.deref()
        with pytest.raises(GoneError, match="freed"):
            each.free()
    assert 0 == heap.statistics().blocks


@pytest.mark.parametrize("again", [8, 16, 64])
def test_freed_and_given_out_again(heap, again):
    """Nor once its memory is another block, which takes no harm."""
    block = heap.malloc(20, 8)
    block.free()
    others = [heap.malloc(20, again) for _ in range(3)]
    for other in others:
        other.deref()[:] = b"\xab" * 20

    with pytest.raises(GoneError):
        block.free()
    with pytest.raises(GoneError):
        block.deref()
    assert all(b"\xab" * 20 == bytes(other.deref()) for other in others)


def _try_freed(block: Block, go: Any, answers: Any) -> None:
    block.deref()[0] = 1
    answers.put("mapped")
    go.wait(LIMIT)
    for what in (block.deref, block.free):
        try:
            what()
        except GoneError:
            answers.put("gone")


def test_freed_elsewhere(ctx, heap):
    """Every process sees that any process has freed a block."""
    block, answers, go = heap.malloc(100), ctx.Queue(), ctx.Event()
    child = ctx.Process(target=_try_freed, args=(block, go, answers))
    child.start()
    assert "mapped" == answers.get(timeout=LIMIT)
    block.free()
    go.set()

    assert ["gone", "gone"] == [answers.get(timeout=LIMIT) for _ in range(2)]
    assert 0 == joined(child)


def test_block_by_its_numbers(heap):
    """Block(heap, start, size) is the block that was given there; anything else is refused."""
    block = heap.malloc(100)
    again = Block(heap, block.start, block.size)

    assert block == again
    assert hash(block) == hash(again)
    for start, size in ((block.start, 99), (block.start + 8, 100), (64, 8), (1 << 25, 8)):
        with pytest.raises(GoneError):
            Block(heap, start, size)
    for start, size in ((-8, 8), (0, 8), (64, 0), (64, -1), (1 << 70, 8), (64, 1 << 64)):
        with pytest.raises(ValueError):
            Block(heap, start, size)


def test_largest_block():
    """Of 10 MiB the largest block is 8 MiB less its tag's 64 bytes: the next size doesn't fit."""
    heap = Heap(10 << 20)
    with pytest.raises(MemoryError):
        heap.malloc((8 << 20) - 63)

    assert (8 << 20) - 64 == heap.malloc((8 << 20) - 64).size


def test_heap_is_full():
    """A full heap raises MemoryError, goes on, and has room again when something is freed."""
    heap, blocks = Heap(1 << 20), []

    def fill() -> None:
        while True:
            blocks.append(heap.malloc(50_000))

    with pytest.raises(MemoryError, match="room"):
        fill()
    assert len(blocks) >= 15
    with pytest.raises(MemoryError):
        heap.malloc(50_000)
    blocks.pop().free()
    blocks.append(heap.malloc(50_000))


def under_file_limit() -> int:
    """Blocks that there was room for, with files limited to a megabyte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    heap, blocks = Heap(), []
    try:
        while len(blocks) < 100:
            blocks.append(heap.malloc(100_000))
    except MemoryError:
        pass
    return len(blocks)


def under_address_limit() -> list[int]:
    """Sizes of two heaps, in a process that may have a gigabyte of addresses."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    heap = Heap()
    heap.malloc(1000).deref()[0] = 1
    try:
        Heap(1 << 34)
    except MemoryError:
        return [heap.size, -1]
    return [heap.size, 0]


def test_limit_on_files():
    """A limit on files is a MemoryError, and no signal."""
    assert 5 < run("tests.test_heap:under_file_limit") < 11


def test_limit_on_addresses():
    """So is one on addresses."""
    size, refused = run("tests.test_heap:under_address_limit")
    assert (1 << 20) <= size < (1 << 30)
    assert -1 == refused


# ---- pickles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_here(heap, protocol):
    """Unpickled in the same process a heap is that very object, and a block is equal."""
    block = heap.malloc(10)
    for _ in range(3):
        assert heap is pickle.loads(pickle.dumps(heap, protocol))
        assert block == pickle.loads(pickle.dumps(block, protocol))


def add_one(block: Block) -> int:
    """Through memory of another process's own, as it finds it."""
    view = block.deref().cast("q")
    view[0] += 1
    return view[0]


def _from_queue(blocks: Any) -> None:
    add_one(blocks.get(timeout=LIMIT))


def share(ctx: BaseContext, heap: Heap) -> list[int]:
    """What a block holds after each way of handing it to other processes."""
    block = heap.malloc(8)
    view = block.deref().cast("q")
    seen = []
    for _ in range(2):
        child = ctx.Process(target=add_one, args=(block,))
        child.start()
        assert 0 == joined(child)
    seen.append(view[0])
    with ctx.Pool(1) as pool:
        pool.map_async(add_one, [block] * 3, chunksize=1).get(LIMIT)
    seen.append(view[0])
    with ProcessPoolExecutor(1, mp_context=ctx) as executor:
        assert 6 == executor.submit(add_one, block).result(LIMIT)
    seen.append(view[0])
    blocks = ctx.Queue()
    child = ctx.Process(target=_from_queue, args=(blocks,))
    child.start()
    blocks.put(block)
    assert 0 == joined(child)
    blocks.close()
    blocks.join_thread()
    seen.append(view[0])
    return seen


@pytest.mark.slow
def test_children_share(ctx, heap):
    """Arguments of processes, tasks of pools and executors, items of queues: one memory."""
    assert [2, 5, 6, 7] == share(ctx, heap)


@pytest.mark.slow
def test_children_share_a_memfd(ctx, no_tmpfs):
    """So they do where no tmpfs can be written, and the memory has no name."""
    heap = Heap(1 << 20)

    assert heap.path is None
    assert [2, 5, 6, 7] == share(ctx, heap)


def test_full_tmpfs(monkeypatch):
    """A tmpfs without room for a heap is as none."""

    def full(fd: int, size: int = 0) -> None:
        if "/dev/shm" in os.readlink(f"/proc/self/fd/{fd}"):
            raise MemoryError
        original(fd, size)

    original = _native.format_heap
    monkeypatch.setattr(_native, "format_heap", full)
    heap = Heap(1 << 20)

    assert heap.path is None
    assert 10 == len(heap.malloc(10).deref())


def _nested(method: str, block: Block) -> None:
    child = multiprocessing.get_context(method).Process(target=add_one, args=(block,))
    child.start()
    assert 0 == joined(child)
    add_one(block)


def grandchildren(outer: str, inner: str, named: bool) -> int:
    """What a block holds that a child added to, and a child of that."""
    if not named:
        runfiles.folders = lambda kind: iter(())
    block = Heap(1 << 20).malloc(8)
    child = multiprocessing.get_context(outer).Process(target=_nested, args=(inner, block))
    child.start()
    assert 0 == joined(child)
    return block.deref().cast("q")[0]


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("named", [True, False])
def test_grandchildren(method, inner, named):
    """A child hands on what it was handed, however it was."""
    assert 2 == run("tests.test_heap:grandchildren", method, inner, named)


@pytest.mark.parametrize("named", [True, False])
def test_pickle_of_what_is_gone(named, monkeypatch):
    """A pickle that outlived its heap says so when it is unpickled."""
    if not named:
        monkeypatch.setattr(runfiles, "folders", lambda kind: iter(()))
    heap = Heap(1 << 20)
    pickles = [pickle.dumps(heap), pickle.dumps(heap.malloc(8))]
    del heap
    gc.collect()
    for each in pickles:
        with pytest.raises(GoneError, match=r"heap .* is gone"):
            pickle.loads(each)


def test_subclass(heap):
    """A subclass of Heap pickles as that."""
    mine = MyHeap(1 << 20)

    assert mine is pickle.loads(pickle.dumps(mine))
    assert type(mine.malloc(8).heap) is MyHeap


class MyHeap(Heap):
    pass


# ---- the file ------------------------------------------------------------------------------------


def test_file_goes_with_its_object(nothing_left):
    """Whoever drops the last Heap of a file removes it; a memoryview still has its memory."""
    heap = Heap(1 << 20)
    path, mode = heap.path, os.stat(heap.path).st_mode & 0o777
    view = heap.malloc(8).deref()

    assert 0o600 == mode
    del heap
    gc.collect()
    assert os.path.exists(path)
    del view
    gc.collect()
    assert not os.path.exists(path)


def paths(method: str) -> list[str]:
    """The path of a heap that a child had too, and that nobody dropped."""
    global kept
    kept = Heap(1 << 20)
    ctx = multiprocessing.get_context(method)
    child = ctx.Process(target=add_one, args=(kept.malloc(8),))
    child.start()
    assert 0 == joined(child)
    assert os.path.exists(kept.path)
    return [kept.path]


def test_file_goes_at_exit(method):
    """A program that ends leaves no file, whatever children it had."""
    (path,) = run("tests.test_heap:paths", method)
    assert not os.path.exists(path)


def kill_me(kind: str) -> None:
    heap_module._KIND = kind
    Heap(1 << 20)
    kept = Heap(1 << 20)
    kept.malloc(100)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def own_kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The kind of this test's heaps: their folder is one that nobody else sweeps."""
    kind = f"{heap_module._KIND}-of-{os.getpid()}"
    monkeypatch.setattr(heap_module, "_KIND", kind)
    yield kind
    shutil.rmtree(f"/dev/shm/{kind}-{os.geteuid()}")


def test_file_of_the_killed_is_swept(ctx, own_kind):
    """What a killed process left is removed by the next that makes a heap."""
    folder = f"/dev/shm/{own_kind}-{os.geteuid()}"
    child = ctx.Process(target=kill_me, args=(own_kind,))
    child.start()
    assert -signal.SIGKILL == joined(child)
    left = set(os.listdir(folder))
    assert 1 == len(left)
    Heap(1 << 20)
    assert left.isdisjoint(os.listdir(folder))


def without_descriptors() -> list[int]:
    """Sizes of the file before and after growing, when a daemoniser has closed everything."""
    heap = Heap(1 << 24)
    before = heap.statistics().file_bytes
    os.closerange(3, 100)
    heap.malloc(5_000_000).deref()[-1] = 1
    assert heap is pickle.loads(pickle.dumps(heap))
    return [before, heap.statistics().file_bytes]


def test_descriptors_closed():
    """A heap grows also after all descriptors were closed."""
    before, after = run("tests.test_heap:without_descriptors")
    assert before < 5_000_000 < after


# ---- several processes, and kills ----------------------------------------------------------------


def churn(heap: Heap, seed: int, tag: int, steps: int, most: int = 40) -> list[Block]:
    """
    Random malloc and free, with what is inside looked after.

    Each block begins as zeros, is aligned, and holds at its end what was written at its beginning.
    """
    rng = random.Random(seed)
    mine: list[tuple[Block, bytes]] = []
    for _ in range(steps):
        if mine and (len(mine) >= most or rng.random() < 0.45):
            block, content = mine.pop(rng.randrange(len(mine)))
            assert content == bytes(block.deref())
            block.free()
        else:
            size = rng.choice((1, 8, 40, 41, 64, 65, 500, 4096, 20_000))
            alignment = rng.choice((1, 8, 16, 32, 64, 256, 4096))
            block = heap.malloc(size, alignment)
            view = block.deref()
            assert size == len(view)
            assert 0 == address(view) % alignment
            assert not any(view)
            content = bytes((tag, rng.randrange(256))) * (size // 2 + 1)
            content = content[:size]
            view[:] = content
            mine.append((block, content))
    for block, content in mine:
        assert content == bytes(block.deref())
    return [block for block, _ in mine]


def _churned(heap: Heap, seed: int, tag: int, steps: int, answers: Any) -> None:
    answers.put(churn(heap, seed, tag, steps))


def _overlap(blocks: list[Block]) -> bool:
    ranges = sorted((block.start, block.start + block.size) for block in blocks)
    return any(end > start for (_, end), (start, _) in itertools.pairwise(ranges))


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seeds=st.lists(st.integers(0, 2**32), min_size=2, max_size=4))
def test_processes_never_overlap(seeds):
    """Random malloc and free in several processes: no two blocks overlap, and nothing is lost."""
    ctx = multiprocessing.get_context("fork")
    heap, answers = Heap(1 << 28), ctx.Queue()
    grown: list[int] = []
    for _ in range(3):
        children = [
            ctx.Process(target=_churned, args=(heap, seed, tag, 150, answers))
            for tag, seed in enumerate(seeds)
        ]
        for child in children:
            child.start()
        blocks = [block for _ in children for block in answers.get(timeout=LIMIT)]
        assert [0] * len(children) == [joined(child) for child in children]
        assert not _overlap(blocks)
        assert len(blocks) == heap.statistics().blocks
        for block in blocks:
            block.free()
        grown.append(heap.statistics().file_bytes)
        assert 0 == heap.statistics().blocks
    # What is in use at one time differs from turn to turn, but not by much.
    assert grown[-1] <= 2 * grown[0]


def test_file_stops_growing(heap):
    """The same sequence again and again needs no more than the first time."""
    sizes = []
    for _ in range(5):
        for block in churn(heap, 7, 1, 1000):
            block.free()
        sizes.append(heap.statistics().file_bytes)
    assert sizes == [sizes[0]] * 5


def _churn_for_ever(heap: Heap, seed: int) -> None:
    while True:
        for block in churn(heap, seed, 1, 50, most=10):
            block.free()
        seed += 1


@pytest.mark.slow
def test_killed_in_malloc(heap):
    """Processes killed in malloc and free leave their blocks, and nothing that stops others."""
    ctx = multiprocessing.get_context("fork")
    rng = random.Random(4)
    for kill in range(1, 41):
        child = ctx.Process(target=_churn_for_ever, args=(heap, kill))
        child.start()
        time.sleep(rng.uniform(0.005, 0.03))
        child.kill()
        assert -signal.SIGKILL == joined(child)
        for block in churn(heap, kill, 2, 60):
            block.free()
        # Its ten, and one that it had been given when it was killed.
        assert heap.statistics().blocks <= 11 * kill
