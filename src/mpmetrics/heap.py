"""Heaps: shared memory for a program's own structures.

A heap is a file on tmpfs that every process maps as a whole, and that grows under the mapping: so a
block is contiguous whatever its size, and its address never changes in a process. What stands in
the file, and why a process may be killed anywhere, is in native/heap.c and native/block.c.

A pickle of a heap names it; who unpickles it maps the same memory. So it does not matter how a
process came to be. Where no tmpfs can be written the memory is a memfd, which has no name: its
descriptor is handed over, by multiprocessing while it spawns a process, through /proc otherwise.
"""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from . import _native, runfiles, storefile
from ._native import GoneError as GoneError

_KIND = "mpmetrics-heaps"
_SIZE_MAX = (1 << 38) - 65536  # native/heap.c
_ALIGNMENT_MAX = 1 << 20  # native/users.h


@dataclass(frozen=True, slots=True)
class HeapStatistics:
    """What a heap is using right now, all processes together."""

    file_bytes: int  # that the file system has given; this never shrinks
    used_bytes: int  # of them in blocks, their tags and what rounding lost included
    blocks: int  # in use


class Heap(_native.Heap):
    """
    Shared memory, of at most `size` bytes, for this process and all that it hands it to.

    It takes memory only as it grows. Without `size` it may grow as far as suits the file system and
    this process's limits, to 64 GiB at most. The last process that has it takes it along.

    A heap pickles any number of times, into any process of this user on this machine; there is one
    object for it in each process. A process killed in `malloc` or `free` hurts nobody: the next one
    mends what it left. The price is a lock: `malloc` and `free` wait for one another, among all
    processes.
    """

    __slots__ = ()

    def __new__(cls, size: int | None = None) -> Self:
        most = 0 if size is None else operator.index(size)
        if size is not None and not 0 < most <= _SIZE_MAX:
            raise ValueError(f"a heap's size must be from 1 to {_SIZE_MAX} bytes, not {most}")

        made = runfiles.make_up(_KIND, lambda path: cls._make(path, most))
        if made is None:
            made = storefile.in_memfd(lambda fd: cls._lay_out(fd, None, most))
        _heaps[made.identity] = made
        return made

    @classmethod
    def _make(cls, path: str, most: int) -> Self:
        try:
            return storefile.make_whole(path, lambda fd: cls._lay_out(fd, path, most))
        except MemoryError as error:  # a full tmpfs: a memfd isn't counted there
            raise OSError(errno.ENOSPC, str(error)) from error

    @classmethod
    def _lay_out(cls, fd: int, path: str | None, most: int) -> Self:
        _native.format_heap(fd, most)
        heap = cls._map(fd, path)
        heap.attach()
        return heap

    @classmethod
    def _map(cls, fd: int, path: str | None) -> Self:
        return super().__new__(cls, fd, path)

    def malloc(self, size: int, alignment: int = 64) -> Block:
        """
        A block of `size` bytes, all zero, at an address that is a multiple of `alignment`.

        The alignment is a power of two, up to 1 MiB; each block costs as many bytes more, but 24 at
        the least. Raises MemoryError if there is no room: the heap has its size, the file system is
        full, or a limit of this process is reached.
        """
        size, alignment = operator.index(size), operator.index(alignment)
        if size <= 0:
            raise ValueError(f"a block must have at least one byte, not {size}")
        if not 0 < alignment <= _ALIGNMENT_MAX or alignment & (alignment - 1):
            raise ValueError(f"an alignment is a power of two up to {_ALIGNMENT_MAX}: {alignment}")
        if size > self.size:
            raise MemoryError(f"{size} bytes, from a heap of {self.size}")
        return _block(self, self._take(size, alignment), size)

    def statistics(self) -> HeapStatistics:
        """How much of it is used. The numbers are exact while nobody is in `malloc` or `free`."""
        return HeapStatistics(*self._numbers())

    def __reduce__(self) -> tuple[Any, ...]:
        fd = self.fileno()
        return _reach, (type(self), self.identity, self.path, os.getpid(), fd, _handed_over(self))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity} at {self.path or 'a memfd'}>"

    def __del__(self) -> None:
        if not sys.is_finalizing():  # then _leave has done it
            _let_go(self)


class Block:
    """
    A range of a heap's memory: `size` bytes from `start`, an offset in the heap.

    `Block(heap, start, size)` is the block that `malloc` gave there, for those who keep the two
    numbers in shared memory. It pickles as that; every process that unpickles it sees one memory.
    What becomes of it when it is freed, every process knows: from then on `deref` and `free` raise
    GoneError, also once the memory is part of another block. A memoryview that was taken before
    still points there, as a pointer in C would.
    """

    __slots__ = ("_birth", "heap", "size", "start")

    heap: Heap
    start: int
    size: int

    def __init__(self, heap: Heap, start: int, size: int) -> None:
        start, size = operator.index(start), operator.index(size)
        if start <= 0 or size <= 0 or start + size > heap.size:
            raise ValueError(f"no block of {heap!r} can be at {start} and of {size} bytes")
        self.heap, self.start, self.size = heap, start, size
        self._birth = heap._birth(start, size)

    def deref(self) -> memoryview:
        """The block's bytes: writable, and in one piece. They keep the heap mapped."""
        return self.heap._deref(self.start, self.size, self._birth)

    def free(self) -> None:
        """Give the memory back, for all processes. Raises GoneError if somebody did already."""
        self.heap._give(self.start, self.size, self._birth)

    def __reduce__(self) -> tuple[Any, ...]:
        return _block, (self.heap, (self.start, self._birth), self.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Block):
            return NotImplemented
        return self.heap is other.heap and self._birth == other._birth

    def __hash__(self) -> int:
        return hash(self._birth)

    def __repr__(self) -> str:
        return f"Block({self.heap!r}, {self.start}, {self.size})"


def _block(heap: Heap, taken: tuple[int, int], size: int) -> Block:
    """A block as it was, freed since or not."""
    block = Block.__new__(Block)
    block.heap, block.size = heap, size
    block.start, block._birth = taken
    return block


# ---- the heaps of this process -------------------------------------------------------------------

_heaps: weakref.WeakValueDictionary[str, Heap] = weakref.WeakValueDictionary()  # by identity


def _let_go(heap: Heap) -> None:
    """The last one out removes the file; the memory stays mapped as long as there is the object."""
    heap.detach()
    if heap.path is not None:
        storefile.remove_if_unused(heap.path)


def _leave() -> None:
    for heap in list(_heaps.values()):
        _let_go(heap)


runfiles.at_end(_leave)


# ---- from one process to another -----------------------------------------------------------------


def _handed_over(heap: Heap) -> Any:
    """What multiprocessing makes of a memfd's descriptor while it spawns a process, or None."""
    context = sys.modules.get("multiprocessing.context")
    if heap.path is not None or context is None or context.get_spawning_popen() is None:
        return None
    from multiprocessing import reduction

    return reduction.DupFd(heap.fileno())


def _reach(
    cls: type[Heap], identity: str, path: str | None, pid: int, fd: int, handed_over: Any
) -> Heap:
    """The heap of that identity; GoneError if it can't be had any more."""
    given = None if handed_over is None else handed_over.detach()
    try:
        heap = _heaps.get(identity)
        if heap is None:
            heap = _heaps[identity] = _map(cls, identity, path, pid, fd, given)
    finally:
        if given is not None:
            os.close(given)
    return heap


def _map(
    cls: type[Heap], identity: str, path: str | None, pid: int, fd: int, given: int | None
) -> Heap:
    if given is not None:
        return cls._map(given, None)
    for way in (path, f"/proc/{pid}/fd/{fd}"):
        with contextlib.suppress(OSError), _opened(way) as file:
            heap = cls._map(file, path)
            # Who removes the file just now is its last one.
            if heap.identity == identity and heap.attach():
                return heap
    raise GoneError(
        f"the heap {identity} is gone: no process has it at {path or 'a memfd'}, and process "
        f"{pid}, which pickled this, has let it go. Keep the Heap until all have unpickled it."
    )


@contextlib.contextmanager
def _opened(way: str | None) -> Iterator[int]:
    if way is None:
        raise FileNotFoundError
    if not way.startswith("/proc/"):
        with storefile.opened(way) as fd:
            yield fd
        return
    fd = os.open(way, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)
