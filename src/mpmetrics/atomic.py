"""Numbers that several processes change at once, each change in one step.

The steps are the processor's own instructions: no lock, no waiting, and nothing that a killed
process could leave half done. Each number is a view of 8 bytes: over memory of one's own, in a
`Struct` or an `Array`, or as `Box[AtomicInt64](heap)` in a heap.
"""

from __future__ import annotations

from . import _native
from .view import View

__all__ = ["AtomicDouble", "AtomicInt64", "AtomicUInt64"]


class AtomicInt64(_native.AtomicInt64, View):
    """
    An integer from -2**63 to 2**63 - 1.

    `add` returns the old value. A sum that doesn't fit wraps around (2**63 - 1 plus 1 is -2**63),
    and raises OverflowError after that, unless told not to: other processes may have seen the new
    value already. What can't be a 64-bit number is refused and changes nothing.
    """

    size = 8
    align = 8

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._over(mem)


class AtomicUInt64(_native.AtomicUInt64, View):
    """
    An integer from 0 to 2**64 - 1; otherwise as `AtomicInt64`.

    Amounts may be negative; below 0 it wraps around to 2**64 - 1.
    """

    size = 8
    align = 8

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._over(mem)


class AtomicDouble(_native.AtomicDouble, View):
    """
    A float.

    `add` returns the old value. A sum of finite numbers that doesn't fit becomes infinite, and
    raises OverflowError after that, unless told not to. Adding infinity or NaN is no overflow.
    """

    size = 8
    align = 8

    def _setup(self, mem: memoryview) -> None:
        super()._setup(mem)
        self._over(mem)
