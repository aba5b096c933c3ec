"""A lock among processes, which the death of its owner does not keep locked."""

from __future__ import annotations

from . import _native
from .view import View

__all__ = ["Lock"]


class Lock(_native.Lock, View):
    """
    A lock in a heap: `Box[Lock](heap)`, or a field of a `Struct` there.

    One thread of one process has it at a time. It belongs to that thread: another that releases it,
    and the same one that acquires it again, gets a RuntimeError. A forked child does not have the
    locks of its parent.

    A lock whose owner's process has ended, however it ended, goes to the next one that asks, within
    10 ms; for that one `owner_died` is True, until somebody acquires the lock from one who released
    it: what the lock guards may be half done, and is to be mended first. A thread that ends in a
    living process keeps its locks.

    Whoever waits looks at the lock again after growing pauses, up to 10 ms. One of those who wait
    is next, and goes before whoever comes later; among the others there is no order.
    """

    size = 24
    align = 8
    _needs_heap = True  # which knows what processes are alive

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._over(mem)
